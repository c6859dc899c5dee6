"""The learning rate as a function of the step: a warm-up, then one of five decays.

A rate depends on the step alone (and, for `plateau`, on the evaluations so far, which `state` puts into the
checkpoint), so a resumed run sees the rates of a run that was never cut.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

from xmkeras.errors import UserError

NAMES = ("constant", "cosine", "step", "exponential", "plateau")


@dataclasses.dataclass
class Schedule:
    """A linear warm-up to `learning_rate`, then a decay that a subclass states as a share of it.

    Attributes:
        learning_rate: the rate at the end of the warm-up, > 0.
        warmup_steps: step s < warmup_steps runs at `learning_rate * (s + 1) / warmup_steps`.
        total_steps: length of the run or stage; the decay ends there and the rate stays.
    """

    learning_rate: float
    warmup_steps: int = 0
    total_steps: int = 1

    def rate(self, step: int) -> float:
        """The learning rate of step `step` (the first is 0)."""
        if step < self.warmup_steps:
            return self.learning_rate * (step + 1) / self.warmup_steps
        return self.learning_rate * self.decay(step - self.warmup_steps)

    def decay(self, step: int) -> float:
        """The share of the full rate `step` steps after the warm-up."""
        return 1.0

    def progress(self, step: int) -> float:
        """How much of the decay, 0..1, is done `step` steps after the warm-up."""
        return min(1.0, step / max(1, self.total_steps - self.warmup_steps))

    def observe(self, metric: float) -> None:
        """Tells the schedule the metric of an evaluation (greater is better); only `plateau` listens."""

    def state(self) -> dict[str, Any]:
        """What `observe` has changed, ready for JSON."""
        return {}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Takes back what `state` returned."""


@dataclasses.dataclass
class Cosine(Schedule):
    """Half a cosine from the full rate down to `final` of it (SGDR, Loshchilov and Hutter, eq. 5)."""

    final: float = 0.0

    def decay(self, step: int) -> float:
        return self.final + (1 - self.final) * (1 + math.cos(math.pi * self.progress(step))) / 2


@dataclasses.dataclass
class Steps(Schedule):
    """Times `factor` at each milestone, given as a share of `total_steps` (0.5: half-way)."""

    milestones: Sequence[float] = (0.5, 0.75)
    factor: float = 0.1

    def decay(self, step: int) -> float:
        done = (step + self.warmup_steps) / self.total_steps
        return self.factor ** sum(done >= milestone for milestone in self.milestones)


@dataclasses.dataclass
class Exponential(Schedule):
    """Times `factor` every `decay_steps` steps, falling smoothly; 0 steps: a hundredth of the run."""

    factor: float = 0.94
    decay_steps: int = 0

    def decay(self, step: int) -> float:
        return self.factor ** (step / (self.decay_steps or max(1.0, self.total_steps / 100)))


@dataclasses.dataclass
class Plateau(Schedule):
    """Times `factor` after `patience` evaluations in a row without a new best, down to `final`."""

    factor: float = 0.1
    patience: int = 3
    final: float = 1e-3
    share: float = dataclasses.field(default=1.0, init=False)
    best: float | None = dataclasses.field(default=None, init=False)
    waited: int = dataclasses.field(default=0, init=False)

    def decay(self, step: int) -> float:
        return self.share

    def observe(self, metric: float) -> None:
        if self.best is None or metric > self.best:
            self.best, self.waited = metric, 0
            return
        self.waited += 1
        if self.waited >= self.patience:
            self.share, self.waited = max(self.final, self.share * self.factor), 0

    def state(self) -> dict[str, Any]:
        return {"share": self.share, "best": self.best, "waited": self.waited}

    def restore(self, state: Mapping[str, Any]) -> None:
        self.share, self.best, self.waited = state["share"], state["best"], state["waited"]


_KINDS: dict[str, type[Schedule]] = dict(zip(NAMES, (Schedule, Cosine, Steps, Exponential, Plateau), strict=True))


def build_schedule(
    name: str, *, learning_rate: float, warmup_steps: int = 0, total_steps: int, **options: Any
) -> Schedule:
    """Builds the schedule called `name`.

    Args:
        name: one of `NAMES`.
        learning_rate: the full rate, > 0.
        warmup_steps: steps of linear warm-up, at least 0; a run that is shorter ends inside it.
        total_steps: steps of the run or stage, at least 1.
        **options: fields of its class (`final`, `factor`, `milestones`, `decay_steps`, `patience`).

    Raises:
        UserError: unknown name or option, or a number out of its range.
    """
    if name not in _KINDS:
        raise UserError(f"There is no schedule {name!r}; choose one of {', '.join(NAMES)}.")
    if not (math.isfinite(learning_rate) and learning_rate > 0):
        raise UserError(f"The learning rate must be a positive number, not {learning_rate}.")
    if total_steps < 1 or warmup_steps < 0:
        raise UserError(
            f"A schedule needs at least one step and no negative warm-up, but was given a run of {total_steps} "
            f"steps and --warmup_steps={warmup_steps}."
        )
    kind = _KINDS[name]
    known = {field.name for field in dataclasses.fields(kind) if field.init}
    if unknown := sorted(set(options) - known):
        raise UserError(f"The schedule {name!r} has no setting {unknown[0]!r}.")
    return kind(learning_rate=learning_rate, warmup_steps=warmup_steps, total_steps=total_steps, **options)
