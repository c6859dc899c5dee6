"""Flags of earlier versions, as config.json and flags.cfg of older runs list them, said with today's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from xmkeras.errors import UserError
from xmkeras.flagfiles import COMMAND_LINE, Argument, last_value

_COLUMNS = {f"{role}_column": role for role in ("image", "caption", "text", "label", "id", "split", "category")}
# `pack` only chose how the same images were read, and `word_scale` the first weights, which a checkpoint brings.
_GONE = ("pack", "word_scale", "zero_pad_compat")
_PADDED = {"max": "max_padded", "max_mean": "max_padded_mean"}  # only a maximum has ever seen the padding
# What was below these was taken for them.
_LEAST = {"limit": 0, "log_every": 1, "max_bad_rows": 0, "min_count": 1, "plateau_patience": 1, "patience": 0}
# What versions did that had not these flags yet.
_BEFORE = {"norm_warmup": False}
_SWITCHES = frozenset({"pack", "zero_pad_compat"})
_SUCCESSORS = ("columns", "pooling")


def translated(values: Mapping[str, Any]) -> dict[str, Any]:
    """The same flags without those that are gone, their meaning kept.

    Args:
        values: by the name of a flag, of any version.
    """
    current = {name: value for name, value in values.items() if name not in {*_COLUMNS, *_GONE}}
    if columns := _columns(values):
        current["columns"] = columns
    if str(values.get("zero_pad_compat")).lower() == "true":
        pooling = values.get("pooling", "max")
        current["pooling"] = _PADDED.get(pooling, pooling)
    return current


def as_saved(values: Mapping[str, Any]) -> dict[str, Any]:
    """The flags that a run of any version was trained with, said in full.

    Flags that earlier versions took below a bound of today have that bound, where it meant as much, and those that they
    had not the value that stands for what they did.
    """
    least = {name: bound for name, bound in _LEAST.items() if name in values and values[name] < bound}
    return _BEFORE | dict(values) | least


def replaced(arguments: Sequence[Argument]) -> list[Argument]:
    """The same for arguments, flagfiles in place; what stands for those that are gone comes last.

    Raises:
        UserError: a person types a flag that nothing stands for today.
    """
    kept: list[Argument] = []
    old: dict[str, Any] = {}
    pending = iter(arguments)
    for argument in pending:
        name, equals, value = argument.text.lstrip("-").partition("=")
        switch = name.removeprefix("no")
        if argument.name and not equals and switch in _SWITCHES:
            old[switch] = name == switch
        elif argument.name in _COLUMNS or argument.name in _GONE:
            if name == "word_scale" and argument.origin == COMMAND_LINE:
                raise UserError(f"--{name} is of an earlier version and means nothing any more; leave it away.")
            old[name] = value if equals else next(pending, Argument("", "")).text
        else:
            kept.append(argument)
    given = {name: value for name in _SUCCESSORS if (value := last_value(kept, name))}
    current = translated({**given, **old})
    return kept + [Argument(f"--{name}={value}", "an older flag") for name, value in current.items() - given.items()]


def _columns(values: Mapping[str, Any]) -> str:
    """`--columns`, and before it the roles that older flags gave and it does not."""
    new = str(values.get("columns", ""))
    named = {item.partition("=")[0].strip() for item in new.split(",")}
    older = [
        f"{role}={column.strip()}"
        for flag, role in _COLUMNS.items()
        if role not in named
        for column in str(values.get(flag, "")).split(",")
        if column.strip()
    ]
    return ",".join([*older, *([new] if new else [])])
