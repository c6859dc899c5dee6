"""Stops a run at a step whose loss or gradient is not finite, and says where to look."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import tensorflow as tf

from xmkeras.errors import UserError
from xmkeras.training.checkpoints import Checkpoints
from xmkeras.training.monitor import is_loss


@dataclasses.dataclass(frozen=True)
class Taken:
    """A step that was taken.

    Attributes:
        step: number of steps done with it.
        results: what `TrainStep` returned.
        gradients: names of the variables that `finite_gradients` tells of.
        rows: numbers of its rows, one array a replica.
    """

    step: int
    results: Mapping[str, tf.Tensor]
    gradients: Sequence[str]
    rows: Sequence[tf.Tensor]

    @property
    def finite(self) -> bool:
        """Whether the run may go on: a float16 gradient may overflow until the loss scale is at its least, 1."""
        scale = self.results.get("scale/loss", 1.0)
        numbers = ("loss", "gradient_norm") if scale <= 1.0 else ("loss",)
        return all(np.isfinite(self.results[name]) for name in numbers)

    def fault(self) -> str:
        """The terms of the loss that are not finite, else the gradients."""
        terms = [name for name, value in scalars(self.results).items() if is_loss(name) and not np.isfinite(value)]
        if terms:
            return ", ".join([name for name in terms if name != "loss"] or terms)
        flags = self.results["finite_gradients"].numpy()
        broken = [name for name, finite in zip(self.gradients, flags, strict=True) if not finite] or self.gradients
        more = f" and {len(broken) - 3} more" if len(broken) > 3 else ""
        return f"the gradient of {', '.join(broken[:3])}{more}"

    def culprits(self) -> np.ndarray:
        """Numbers of the rows that were embedded as something not finite, or of all rows."""
        numbers = np.concatenate([part.numpy() for part in self.rows])
        finite = self.results["finite_rows"].numpy()
        return numbers if finite.all() else numbers[~finite]


class FiniteCheck:
    """Looks at the steps since it last did, so that the device need not be waited for at each.

    Args:
        checkpoints: of the run, of which the message names the last.
        describe_rows: names rows in messages.
        calmer: the flags of a run that is less likely to end so, such as a lower rate.
    """

    def __init__(self, checkpoints: Checkpoints, describe_rows: Callable[[np.ndarray], str], calmer: str):
        self._calmer = calmer
        self._checkpoints = checkpoints
        self._describe_rows = describe_rows
        self._pending: list[Taken] = []

    def add(self, taken: Taken) -> None:
        self._pending.append(taken)

    def check(self) -> None:
        """Raises UserError for the first step that was not finite."""
        for taken in self._pending:
            if not taken.finite:
                raise UserError(self._explain(taken))
        self._pending.clear()

    def _explain(self, taken: Taken) -> str:
        saved = self._checkpoints.latest()
        last = f"the last checkpoint, of step {saved.step}, is whole" if saved else "no checkpoint was written before"
        run = self._checkpoints.directory.parent
        begin = f" --init_from={run}" if saved else ""
        again = f"python -m xmkeras.train --flagfile={run / 'flags.cfg'} --run={run}-2{begin} {self._calmer}"
        return (
            f"Step {taken.step}: {taken.fault()} is not finite, with rows {self._describe_rows(taken.culprits())}; "
            f"{last}: mend those rows and run the same command again, or take smaller steps: {again}"
        )


def scalars(results: Mapping[str, tf.Tensor]) -> dict[str, float]:
    """The numbers of a step by name."""
    return {name: float(value) for name, value in results.items() if value.shape.rank == 0}
