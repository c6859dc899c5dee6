"""Flags of earlier versions, as config.json and flags.cfg of older runs list them, said with today's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from xmkeras.errors import UserError
from xmkeras.flagfiles import Argument, last_value

_COLUMNS = {f"{role}_column": role for role in ("image", "caption", "text", "label", "id", "split", "category")}
# What they were when nobody set them; `pack` only chose how the same images were read.
_DEFAULTS: dict[str, tuple[str, ...]] = {
    "pack": ("false", "true"),
    "word_scale": ("0.0", "0"),
    "zero_pad_compat": ("false",),
}
_PADDED = {"max": "max_padded", "mean": "mean", "last": "last"}  # only a maximum has ever seen the padding
_SWITCHES = frozenset({"pack", "zero_pad_compat"})
_SUCCESSORS = ("columns", "pooling")


def translated(values: Mapping[str, Any]) -> dict[str, Any]:
    """The same flags without those that are gone, their meaning kept.

    Args:
        values: by the name of a flag, of any version.

    Raises:
        UserError: a flag that is gone had a value that nothing stands for today.
    """
    current = {name: value for name, value in values.items() if name not in {*_COLUMNS, *_DEFAULTS}}
    if columns := _columns(values):
        current["columns"] = columns
    gone = {name: str(values[name]).lower() for name in _DEFAULTS if name in values}
    if gone.get("zero_pad_compat") == "true" and values.get("pooling", "max") in _PADDED:
        current["pooling"] = _PADDED[values.get("pooling", "max")]
        del gone["zero_pad_compat"]
    for name, value in gone.items():
        if value not in _DEFAULTS[name]:
            raise UserError(f"--{name}={value} is of an earlier version and means nothing any more; leave it away.")
    return current


def replaced(arguments: Sequence[Argument]) -> list[Argument]:
    """The same for arguments, flagfiles in place; what stands for those that are gone comes last.

    Raises:
        UserError: as `translated`.
    """
    kept: list[Argument] = []
    old: dict[str, Any] = {}
    pending = iter(arguments)
    for argument in pending:
        name, equals, value = argument.text.lstrip("-").partition("=")
        switch = name.removeprefix("no")
        if argument.name and not equals and switch in _SWITCHES:
            old[switch] = name == switch
        elif argument.name in _COLUMNS or argument.name in _DEFAULTS:
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
