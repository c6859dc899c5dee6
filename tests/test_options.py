"""Every flag has a type, a range and a sentence: below, at and above each bound of each flag of each command."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from typing import Any

import pytest

from xmkeras import flags, methods
from xmkeras.config import DataConfig, ModelConfig, TrainConfig
from xmkeras.errors import UserError
from xmkeras.evaluate import EvaluateOptions
from xmkeras.export import ExportOptions
from xmkeras.options import Options, option
from xmkeras.search import SearchOptions

PARTS: list[tuple[str, type]] = [("", part) for part in (DataConfig, ModelConfig, TrainConfig)]
PARTS += [("", command) for command in (EvaluateOptions, ExportOptions, SearchOptions)]
PARTS += [(f"{name}.", methods.load(name).Params) for name in methods.names()]


def fields() -> Iterator[tuple[str, type, dataclasses.Field[Any]]]:
    """Prefix of the flag, its dataclass, and itself."""
    for prefix, part in PARTS:
        for field in dataclasses.fields(part):
            yield prefix, part, field


def numeric(field: dataclasses.Field[Any]) -> bool:
    return isinstance(field.default, int | float) and not isinstance(field.default, bool)


def values() -> Iterator[Any]:
    """Beside each bound: (prefix, part, name of the field, value, whether it is taken)."""
    for prefix, part, field in fields():
        if not numeric(field):
            continue
        whole, name = isinstance(field.default, int), field.name
        for kind, bound in field.metadata["bounds"].items():
            up = 1 if kind in ("least", "above") else -1
            step = up if whole else up * 1e-3
            for value, taken in ((bound - step, False), (bound, kind in ("least", "most")), (bound + step, True)):
                yield pytest.param(prefix, part, name, value, taken, id=f"{prefix}{name}={value}")
        for value in () if whole else (math.nan, math.inf):
            yield pytest.param(prefix, part, name, value, False, id=f"{prefix}{name}={value}")


def parse(prefix: str, part: type, argument: str) -> Any:
    """The command line that takes a flag."""
    if part is SearchOptions:
        return flags.parse_options([argument], part)
    method = [f"--method={prefix.removesuffix('.')}"] if prefix else []
    return flags.parse([*method, argument], part if part in (EvaluateOptions, ExportOptions) else None)


@pytest.mark.parametrize(("prefix", "part", "name", "value", "taken"), list(values()))
def test_a_value_beside_a_bound(prefix: str, part: type, name: str, value: Any, taken: bool):
    if taken:
        part(**{name: value})
        return
    with pytest.raises(UserError) as error:
        part(**{name: value})
    assert str(error.value).startswith(f"--{prefix}{name}={value} has to be ")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("prefix", "part", "field"),
    [pytest.param(*one, id=f"{one[0]}{one[2].name}") for one in fields() if numeric(one[2])],
)
def test_the_command_refuses_what_lies_outside_and_what_is_no_number(
    prefix: str, part: type, field: dataclasses.Field[Any]
):
    bounds = field.metadata["bounds"]
    low = min(bounds.get("least", 0), bounds.get("above", 0)) - 1
    high = max(bounds.get("most", 0), bounds.get("below", 0)) + 1 if {"most", "below"} & bounds.keys() else None
    beyond = [10**20] if isinstance(field.default, int) else []
    for value in (low, "many", *beyond, *([] if high is None else [high])):
        with pytest.raises(UserError) as error:
            parse(prefix, part, f"--{prefix}{field.name}={value}")
        assert f"{prefix}{field.name}" in str(error.value)
        assert str(value) in str(error.value)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("prefix", "part", "field"),
    [pytest.param(*one, id=f"{one[0]}{one[2].name}") for one in fields() if numeric(one[2])],
)
def test_every_number_has_a_range_and_a_default_inside(prefix: str, part: type, field: dataclasses.Field[Any]):
    assert field.metadata["bounds"]
    part()


@pytest.mark.parametrize(
    ("flag", "words"),
    [
        ("--decay_milestones=abc", "--decay_milestones=abc"),
        ("--decay_milestones=0.5,nan", "--decay_milestones=0.5,nan"),
        ("--decay_milestones=-3,7", "--decay_milestones=-3,7"),
        ("--schedule=linear", "cosine"),
        ("--image_tower=alexnet", "mobilenet"),
    ],
)
def test_what_is_no_number_is_checked_too(flag: str, words: str):
    with pytest.raises(UserError, match=words):
        flags.parse([flag])


@dataclasses.dataclass(frozen=True)
class Toy(Options, prefix="toy."):
    units: int = option(3, "units", least=1, below=9)
    rate: float = option(0.5, "rate", above=0)
    kind: str = option("a", "kind", ("a", "b"))


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"units": 0}, "--toy.units=0 has to be 1 or greater and less than 9."),
        ({"units": 2.5}, "--toy.units=2.5 has to be a whole number."),
        ({"rate": math.nan}, "--toy.rate=nan has to be greater than 0."),
        ({"rate": math.inf}, "--toy.rate=inf has to be greater than 0."),
        ({"rate": "fast"}, "--toy.rate=fast has to be a number."),
        ({"kind": "c"}, "--toy.kind=c is not known; choose one of a, b."),
    ],
)
def test_a_fault_is_one_sentence_in_python_too(given: dict[str, Any], sentence: str):
    with pytest.raises(UserError) as error:
        Toy(**given)
    assert str(error.value) == sentence


def test_a_bound_of_another_name_is_a_mistake_of_the_programmer():
    with pytest.raises(TypeError, match="minimum"):
        option(1, "help", minimum=0)
