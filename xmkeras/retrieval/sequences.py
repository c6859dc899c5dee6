"""Items of several vectors each, of any number: the words of sentences, the regions of pictures."""

from dataclasses import dataclass

import numpy as np

# A float32 array (b, d); of sequences, the padded array (b, n, d) and its mask (b, n).
Block = np.ndarray | tuple[np.ndarray, np.ndarray]
Rows = np.ndarray | slice


@dataclass(frozen=True)
class Sequences:
    """n items of several vectors each, such as the words of a sentence or the regions of a picture.

    values: (t, d) float32, the vectors of all items one after the other.
    starts: (n + 1,) int64; item i is values[starts[i]:starts[i + 1]].

    Raises ValueError when the two do not fit.
    """

    values: np.ndarray
    starts: np.ndarray

    def __post_init__(self) -> None:
        starts, t = self.starts, len(self.values)
        if self.values.ndim != 2 or not len(starts) or starts[0] != 0 or starts[-1] != t or (self.lengths < 0).any():
            raise ValueError(f"starts {starts.shape} do not cut values {self.values.shape} into items")

    def __len__(self) -> int:
        return len(self.starts) - 1

    @property
    def lengths(self) -> np.ndarray:
        """(n,) how many vectors each item has."""
        return np.diff(self.starts)

    def take(self, rows: Rows) -> "Sequences":
        """The items at `rows` (integers, a boolean mask or a slice), in that order, in memory."""
        lengths = self.lengths[rows]
        starts = np.concatenate([[0], np.cumsum(lengths)])
        # Where the vectors of an item lie here, less where they will lie, is the same for all of them.
        moved = np.repeat(np.asarray(self.starts[:-1])[rows] - starts[:-1], lengths)
        return Sequences(np.asarray(self.values[moved + np.arange(starts[-1])]), starts)

    def padded(self, rows: Rows) -> tuple[np.ndarray, np.ndarray]:
        """The items at `rows` as a float32 array (b, n, d), zero behind their ends, and what is theirs, bool (b, n)."""
        items = self.take(rows)
        mask = np.arange(items.lengths.max(initial=1)) < items.lengths[:, None]
        padded = np.zeros((*mask.shape, self.values.shape[1]), np.float32)
        padded[mask] = items.values
        return padded, mask

    __getitem__ = take
