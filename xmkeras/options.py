"""Options: fields of dataclasses that become flags, each with its help, its choices and its range."""

from __future__ import annotations

import dataclasses
import math
import numbers
from typing import Any, ClassVar

from xmkeras.errors import UserError

# How a bound of `option` is told, and whether a value keeps to it; NaN keeps to none.
_BOUNDS = {
    "least": ("{} or greater", lambda value, bound: value >= bound),
    "above": ("greater than {}", lambda value, bound: value > bound),
    "most": ("{} or less", lambda value, bound: value <= bound),
    "below": ("less than {}", lambda value, bound: value < bound),
}

_LARGEST = 2**53  # whole numbers up to it are floats too


def option(
    default: Any, help_text: str, choices: tuple[str, ...] = (), *, topic: str = "", of: tuple[str, ...] = (),
    **bounds: float,
) -> Any:  # fmt: skip
    """A dataclass field whose metadata becomes the flag's help, choices and range.

    Args:
        default: of the flag.
        help_text: what `--help` says of it.
        choices: all values that it may have; any where empty.
        topic: under which `--help` lists it.
        of: the kinds of inputs that take it; all where empty.
        **bounds: of a number: `least` or `above`, `most` or `below`.

    Raises:
        TypeError: a bound of another name.
    """
    if unknown := bounds.keys() - _BOUNDS:
        raise TypeError(f"there is no bound {unknown.pop()!r}; use {', '.join(_BOUNDS)}")
    metadata = {"help": help_text, "choices": choices, "topic": topic, "of": of, "bounds": bounds}
    return dataclasses.field(default=default, metadata=metadata)


def told(field: dataclasses.Field[Any]) -> str:
    """The range of an option in words, "0 or greater and less than 1"; "" where it has none."""
    return " and ".join(_BOUNDS[name][0].format(bound) for name, bound in field.metadata.get("bounds", {}).items())


class Options:
    """A frozen dataclass of `option` fields, which refuses a value outside of its range or choices.

    The name of a method's parameters on the command line begins with the method's:
    `class Params(Options, prefix="cmpm.")`. A `__post_init__` of a subclass begins with that of this one.

    Raises:
        UserError: a value out of its range, or none of its choices.
    """

    _prefix: ClassVar[str] = ""

    def __init_subclass__(cls, prefix: str = "", **rest: Any):
        super().__init_subclass__(**rest)
        cls._prefix = prefix or cls._prefix

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):  # type: ignore[arg-type]
            if fault := _fault(field, getattr(self, field.name)):
                raise UserError(f"--{self._prefix}{field.name}={getattr(self, field.name)} {fault}.")


def _fault(field: dataclasses.Field[Any], value: Any) -> str:
    """What is wrong with the value of a field; "" when nothing is."""
    choices, bounds = field.metadata.get("choices", ()), field.metadata.get("bounds", {})
    if choices and value not in choices:
        return f"is not known; choose one of {', '.join(choices)}"
    if isinstance(field.default, bool) or not isinstance(field.default, int | float):
        return ""
    whole = isinstance(field.default, int)
    if isinstance(value, numbers.Integral) and abs(int(value)) > _LARGEST:
        return f"is beyond all that can be counted here; the largest whole number is {_LARGEST}"
    if not isinstance(value, numbers.Integral if whole else numbers.Real):
        return f"has to be a {'whole ' if whole else ''}number"
    if not math.isfinite(value) or not all(_BOUNDS[name][1](value, bound) for name, bound in bounds.items()):
        return f"has to be {told(field) or 'finite'}"
    return ""
