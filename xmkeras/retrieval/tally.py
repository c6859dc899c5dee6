"""The inner loop of ranking: how many scores of each row of a tile stand before each relevant item of the row.

Most scores stand behind even the last relevant item: one comparison each is enough. Of the others, few are
compared one by one, many are sorted within the tile, in cache, and the relevant items looked up among them.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

Ties = Literal["pessimistic", "optimistic", "index"]

# Up to so many marks of a row are compared with all its scores, which takes as long as sorting these.
_FEW = 3
_AT_A_TIME = 2**20


@dataclass
class Marks:
    """The relevant items of n queries, best first: scores and places in the gallery, both (n, m).

    A score is NaN for padding, and for an item that scores NaN or -inf: it stands behind all others by each rule.
    lowest: (n,) the lowest score of each query.
    """

    scores: np.ndarray
    places: np.ndarray
    lowest: np.ndarray

    @classmethod
    def of(cls, scores: np.ndarray, places: np.ndarray, ties: Ties) -> "Marks":
        """From scores in any order without NaN, -inf for padding. Of equal ones the latest in the gallery is first."""
        if ties == "index":
            order = np.lexsort((-places, -scores), axis=1)
            scores, places = np.take_along_axis(scores, order, 1), np.take_along_axis(places, order, 1)
        else:
            scores = -np.sort(-scores, axis=1)
        scores[scores == -np.inf] = np.nan
        return cls(scores, places, np.fmin.reduce(scores, axis=1, initial=np.float32(np.inf)))

    def part(self, rows: slice) -> "Marks":
        return Marks(self.scores[rows], self.places[rows], self.lowest[rows])


class NearlyAllNear(Exception):  # noqa: N818 - a signal, not an error
    """So many scores lie within the slack of a mark that exact scores of the whole tile cost less."""


@dataclass
class Tally:
    """A tile: scores (a, b), the marks of its rows, and places (b,) of its columns in the gallery.

    slack: how far a score may lie from the exact one; exact(i, j): the exact scores of pairs of row and column.
    limit: how many scores may be taken up again; beyond, `counts` raises NearlyAllNear unless slack is 0.
    """

    scores: np.ndarray
    marks: Marks
    places: np.ndarray
    ties: Ties
    slack: float
    exact: Callable[[np.ndarray, np.ndarray], np.ndarray]
    limit: float

    def counts(self) -> np.ndarray:
        """(a, m) int32: how many scores of a row stand before each mark of the row; NaN never does.

        At a mark that is NaN the number means nothing.
        """
        width, marks = self.scores.shape[1], self.marks.scores
        self._counts = np.zeros(marks.shape, np.int32)
        self._above, self._least = self._bounds(marks)
        reaching = self.scores > self._bounds(self.marks.lowest)[1][:, None]
        reach = count_rows(reaching)
        # Nanoseconds, roughly: a score taken up by itself, and a score sorted with its whole row.
        dense = reach * (20.0 + 4 * marks.shape[1]) > 3 * width
        if dense.any():
            rows = np.flatnonzero(dense)
            reaching[rows], reach[rows] = False, 0
            self._count_dense(rows)
        if reach.any():
            self._count_sparse(np.flatnonzero(reaching), reach)
        return self._counts

    def _bounds(self, marks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """A score above the first stands before the mark; one not above the second does not."""
        equal_too = np.nextafter(marks - np.float32(self.slack), np.float32(-np.inf))
        if self.slack:
            return marks + np.float32(self.slack), equal_too
        return {"pessimistic": (equal_too, equal_too), "optimistic": (marks, marks), "index": (marks, equal_too)}[
            self.ties
        ]

    def _count_sparse(self, flat: np.ndarray, reach: np.ndarray) -> None:
        rows, columns = np.divmod(flat, self.scores.shape[1])
        scores = self.scores.ravel()[flat][:, None]
        above = scores > self._above[rows]
        present = np.flatnonzero(reach)
        starts = np.cumsum(reach[present]) - reach[present]
        self._counts[present] += np.add.reduceat(above, starts, axis=0, dtype=np.int32)
        if self._above is not self._least:
            which, level = np.nonzero((scores > self._least[rows]) & ~above)
            self._check(len(which))
            self._settle(rows[which], level, columns[which])

    def _count_dense(self, rows: np.ndarray) -> None:
        scores = self.scores if len(rows) == len(self.scores) else self.scores[rows]
        above, least = self._above[rows], self._least[rows]
        if above.shape[1] <= _FEW:
            counts = _count_by_comparing(scores, above)
            near = counts < _count_by_comparing(scores, least) if self._above is not self._least else None
        else:
            counts, following = _count_by_sorting(scores, above)
            near = following > least if self._above is not self._least else None
        self._counts[rows] += counts
        if near is not None:
            which, level = np.nonzero(near)
            self._check(len(which))
            step = max(1, _AT_A_TIME // scores.shape[1])
            for start in range(0, len(which), step):
                self._settle_rows(rows[which[start : start + step]], level[start : start + step])

    def _settle_rows(self, rows: np.ndarray, level: np.ndarray) -> None:
        scores = self.scores[rows]
        near = scores > self._least[rows, level][:, None]
        near &= scores <= self._above[rows, level][:, None]
        which, columns = np.divmod(np.flatnonzero(near), scores.shape[1])
        self._check(len(which))
        self._settle(rows[which], level[which], columns)

    def _settle(self, rows: np.ndarray, level: np.ndarray, columns: np.ndarray) -> None:
        scores = self.exact(rows, columns) if self.slack else self.scores[rows, columns]
        marks = self.marks.scores[rows, level]
        before = scores >= marks if self.ties == "pessimistic" else scores > marks
        if self.ties == "index":
            before |= (scores == marks) & (self.places[columns] > self.marks.places[rows, level])
        np.add.at(self._counts, (rows[before], level[before]), 1)

    def _check(self, near: int) -> None:
        if self.slack and near > self.limit:
            raise NearlyAllNear


def count_rows(mask: np.ndarray) -> np.ndarray:
    """(a,) how many of each row of a boolean (a, b) are true: np.count_nonzero along an axis, several times faster."""
    counts = np.zeros(len(mask), np.int64)
    eights = mask.shape[1] // 8 * 8
    # Eight bytes are added as one number; a byte of the sum holds at most 255.
    for start in range(0, eights, 8 * 255):
        words = mask[:, start : min(start + 8 * 255, eights)].view(np.uint64)
        counts += words.sum(axis=1).view(np.uint8).reshape(-1, 8).sum(axis=1, dtype=np.int64)
    return counts + mask[:, eights:].sum(axis=1)


def _count_by_comparing(scores: np.ndarray, bounds: np.ndarray) -> np.ndarray:
    return np.stack([count_rows(scores > bound[:, None]) for bound in bounds.T], axis=1)


def _count_by_sorting(scores: np.ndarray, bounds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(a, m) how many scores (a, b) of a row are above each bound (a, m), and the best score that is not, or NaN."""
    falling = -scores
    falling.sort(axis=1)
    counts = np.stack([row.searchsorted(bound) for row, bound in zip(falling, -bounds, strict=True)])
    inside = np.minimum(counts, scores.shape[1] - 1)
    following = np.where(inside == counts, -np.take_along_axis(falling, inside, 1), np.nan)
    return counts, following
