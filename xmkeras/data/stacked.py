"""Arrays of several files behind one another, read as one and never copied together."""

from __future__ import annotations

import dataclasses
import functools
import math
from typing import Any

import numpy as np


@dataclasses.dataclass(frozen=True, eq=False)
class Stacked:
    """What `np.concatenate` would make of its parts, of which only the rows asked for are read.

    Args:
        parts: one array or more of the same type and row shape, such as memory maps of the splits of a data set.
    """

    parts: tuple[np.ndarray, ...]

    @functools.cached_property
    def starts(self) -> np.ndarray:
        """int64 (parts + 1,): where each part begins, and the end of the last."""
        return np.cumsum([0, *(len(part) for part in self.parts)])

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self), *self.parts[0].shape[1:])

    @property
    def ndim(self) -> int:
        return self.parts[0].ndim

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.parts[0].dtype

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize

    def __len__(self) -> int:
        return int(self.starts[-1])

    def __getitem__(self, rows: Any) -> np.ndarray:
        """A row, or the rows of a slice, an array of numbers or a mask, as an array in memory."""
        if isinstance(rows, int | np.integer):
            return np.asarray(self[[rows]][0])
        flat = np.arange(len(self))[rows]
        part_of = np.searchsorted(self.starts, flat, side="right") - 1
        found = np.empty((len(flat), *self.shape[1:]), self.dtype)
        for number in np.unique(part_of):
            here = part_of == number
            found[here] = self.parts[number][flat[here] - self.starts[number]]
        return found


# What a table's rows are looked up in.
Array = np.ndarray | Stacked


def stacked(*parts: np.ndarray) -> Array:
    """The parts behind one another; a single one is itself."""
    return parts[0] if len(parts) == 1 else Stacked(parts)
