"""What a person writes about optimizers: groups of variables, and the stages of a run.

A pattern is a regular expression that must match the *whole* name of a variable, as in `image_backbone/.*`.
Groups are ordered: the first one that matches a variable decides.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Collection, Iterable

from xmkeras.errors import UserError

OPTIMIZERS = ("adam", "adamw", "sgd")
_OPTIMIZERS = ", ".join(OPTIMIZERS)


@dataclasses.dataclass(frozen=True)
class Group:
    """Settings of the variables whose whole name matches `pattern`; None takes the run's default.

    Attributes:
        pattern: regular expression on variable names.
        optimizer: one of `OPTIMIZERS`.
        learning_rate: full rate of the group; it follows the shape of the run's schedule.
        multiple: full rate of the group as a multiple of the run's, used when `learning_rate` is None.
        weight_decay: decoupled decay, >= 0.
        momentum: of SGD, 0..1.
        frozen: the variables are not trained; see `xmkeras.training.freezing.Freezer`.
    """

    pattern: str
    optimizer: str | None = None
    learning_rate: float | None = None
    multiple: float = 1.0
    weight_decay: float | None = None
    momentum: float | None = None
    frozen: bool = False

    def matches(self, name: str) -> bool:
        return re.fullmatch(self.pattern, name) is not None


def group_of(name: str, groups: Iterable[Group]) -> Group:
    """The first group that matches the name of a variable, else one that leaves everything to the run."""
    return next((group for group in groups if group.matches(name)), Group(".*"))


@dataclasses.dataclass(frozen=True)
class Stage:
    """A part of a run with settings of its own; None takes the run's.

    Attributes:
        name: shown in logs.
        epochs, steps: length of the stage; exactly one is set.
        learning_rate, schedule, warmup_steps: as the flags of the same names.
        frozen: patterns of variables that this stage does not train.
    """

    name: str
    epochs: float | None = None
    steps: int | None = None
    learning_rate: float | None = None
    schedule: str | None = None
    warmup_steps: int | None = None
    frozen: tuple[str, ...] = ()

    def groups(self, groups: Iterable[Group] = ()) -> tuple[Group, ...]:
        """The groups of this stage: its frozen variables first, then the run's groups."""
        return (*(Group(pattern, frozen=True) for pattern in self.frozen), *groups)


def parse_group(text: str) -> Group:
    """Reads `REGEX [optimizer=adam|adamw|sgd] [lr=RATE|lr=FACTORx] [weight_decay=D] [momentum=M] [frozen]`.

    Raises:
        UserError: the text says something else.
    """
    place = f"The group {text!r}"
    pattern, *rest = text.split() or [""]
    _check_pattern(pattern, place)
    settings = _settings(rest, {"optimizer", "lr", "weight_decay", "momentum", "frozen"}, place)
    optimizer = settings.get("optimizer")
    if optimizer is not None and optimizer not in OPTIMIZERS:
        raise UserError(f"{place} asks for the optimizer {optimizer!r}; choose one of {_OPTIMIZERS}.")
    rate = settings.get("lr")
    relative = rate is not None and rate.endswith("x")
    return Group(
        pattern,
        optimizer=optimizer,
        learning_rate=None if rate is None or relative else _number(rate, place, "lr"),
        multiple=_number(rate[:-1], place, "lr") if rate is not None and relative else 1.0,
        weight_decay=_optional(settings, "weight_decay", place),
        momentum=_optional(settings, "momentum", place, most=1.0),
        frozen=settings.get("frozen", "false") == "true",
    )


def parse_stage(text: str, number: int = 1) -> Stage:
    """Reads `epochs=E|steps=N [lr=RATE] [schedule=NAME] [warmup_steps=N] [frozen=REGEX ...] [name=NAME]`.

    Args:
        text: the stage; `frozen` may stand several times.
        number: place of the stage in the run, from 1; names a stage that has no name.

    Raises:
        UserError: the text says something else.
    """
    place = f"The stage {text!r}"
    words = text.split()
    frozen = tuple(word.removeprefix("frozen=") for word in words if word.startswith("frozen="))
    for pattern in frozen:
        _check_pattern(pattern, place)
    rest = [word for word in words if not word.startswith("frozen=")]
    settings = _settings(rest, {"epochs", "steps", "lr", "schedule", "warmup_steps", "name"}, place)
    if ("epochs" in settings) == ("steps" in settings):
        raise UserError(f"{place} must say how long it lasts: either epochs=E or steps=N.")
    steps, warmup = _optional(settings, "steps", place), _optional(settings, "warmup_steps", place)
    return Stage(
        settings.get("name", f"stage {number}"),
        epochs=_optional(settings, "epochs", place),
        steps=None if steps is None else int(steps),
        learning_rate=_optional(settings, "lr", place),
        schedule=settings.get("schedule"),
        warmup_steps=None if warmup is None else int(warmup),
        frozen=frozen,
    )


def check_patterns(patterns: Iterable[str], names: Collection[str]) -> None:
    """Raises UserError for a pattern that matches none of the variables `names`."""
    for pattern in patterns:
        if not any(re.fullmatch(pattern, name) for name in names):
            some = sorted(names)
            shown = ", ".join(some[:: max(1, len(some) // 5)][:5])
            raise UserError(
                f"The pattern {pattern!r} matches no variable; it must match a whole name, such as: {shown}."
            )


def _check_pattern(pattern: str, place: str) -> None:
    try:
        re.compile(pattern)
    except re.error as error:
        raise UserError(f"{place} holds {pattern!r}, which is no regular expression: {error}.") from None
    if not pattern or re.match(r"\w+=", pattern):
        raise UserError(f"{place} must begin with a pattern of variable names, such as 'text_encoder/.*'.")


def _settings(words: Iterable[str], known: set[str], place: str) -> dict[str, str]:
    settings: dict[str, str] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if key not in known or key in settings or not (value or word == "frozen"):
            choices = ", ".join(sorted(known))
            raise UserError(f"{place} holds {word!r}; write each of {choices} once, as key=value.")
        settings[key] = value if equals else "true"
    return settings


def _optional(settings: dict[str, str], key: str, place: str, most: float = float("inf")) -> float | None:
    return _number(settings[key], place, key, most) if key in settings else None


def _number(text: str, place: str, key: str, most: float = float("inf")) -> float:
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number <= most or number == float("inf"):
        raise UserError(f"{place} has {key}={text}, which is not a number in its range.")
    return number
