"""The counting behind `ranking`: two sides sorted by key, compared one tile of scores at a time."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import get_args

import numpy as np

from xmkeras.retrieval.scores import PAIR_COST, Score, Scorer, scorer_of
from xmkeras.retrieval.sequences import Sequences
from xmkeras.retrieval.tally import Marks, NearlyAllNear, Tally, Ties

_TILE_ROWS = 1024
_RELEVANT_ROWS = 16
_HELD_BYTES = 2**27
_PREPARED_AT_A_TIME = 512


@dataclass
class Side:
    """One of the two sets, taken in the order of its keys, so that relevant pairs lie together in few tiles.

    codes: dense numbers of the keys, ascending; order: the items in their order.
    """

    items: np.ndarray
    keys: np.ndarray
    order: np.ndarray = field(init=False)
    codes: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        self.keys = np.asarray(self.keys)
        if isinstance(self.items, Sequences):
            raise ValueError("sequences are ranked by their places in a score matrix: see score_matrix.compute")
        if len(self.items) != len(self.keys):
            raise ValueError(f"{len(self.items)} items but {len(self.keys)} keys")

    def __len__(self) -> int:
        return len(self.items)

    def sort(self, codes: np.ndarray) -> None:
        self.order = np.argsort(codes, kind="stable")
        self.codes = codes[self.order]

    def span(self, other: "Side") -> tuple[np.ndarray, np.ndarray]:
        """(n,) and (n,): from where to where, in sorted order, the other side has the key of each of these."""
        first, last = (np.searchsorted(other.codes, self.codes, end) for end in ("left", "right"))
        return first, last


class Best:
    """Learns the best relevant item of each item of a side; of several equal ones, the latest of the other set."""

    def __init__(self, count: int) -> None:
        self.scores = np.full(count, -np.inf, np.float32)
        self.places = np.full(count, -1, np.int64)

    def take_in(self, mine: np.ndarray, _: np.ndarray, places: np.ndarray, scores: np.ndarray) -> None:
        """Relevant pairs: place among these, place and original place in the other set, score."""
        before = self.scores.copy()
        np.fmax.at(self.scores, mine, scores)
        self.places[self.scores > before] = -1
        top = scores == self.scores[mine]
        np.maximum.at(self.places, mine[top], places[top])

    def marks(self, ties: Ties) -> Marks:
        return Marks.of(self.scores[:, None], self.places[:, None], ties)


class All:
    """Learns all relevant items of each item of a side, `first` (n,) to `last` (n,) of the other, but not itself."""

    def __init__(self, first: np.ndarray, last: np.ndarray, start: int | None) -> None:
        self._first, self._start = first, start
        shape = len(first), max(1, int((last - first).max(initial=0)))
        self.scores, self.places = np.full(shape, -np.inf, np.float32), np.full(shape, -1, np.int32)

    def take_in(self, mine: np.ndarray, others: np.ndarray, places: np.ndarray, scores: np.ndarray) -> None:
        """As in Best."""
        scores = np.where(np.isnan(scores), np.float32(-np.inf), scores)
        if self._start is not None:
            scores[mine + self._start == others] = -np.inf
        slots = others - self._first[mine]
        self.scores[mine, slots], self.places[mine, slots] = scores, places

    def marks(self, ties: Ties) -> Marks:
        return Marks.of(self.scores, self.places, ties)


class Comparison:
    """Two sides and a score; everything is held against everything in tiles of at most `chunk_bytes` of scores.

    Both sides are put in the order of their keys, keys with few columns first. Raises ValueError for a tie rule
    or a score that is none.
    """

    def __init__(self, rows: Side, columns: Side, ties: Ties, score: Score, chunk_bytes: int) -> None:
        if ties not in get_args(Ties):
            raise ValueError(f"ties is {ties!r}, not one of {get_args(Ties)}")
        self.rows, self.columns, self.ties, self.chunk_bytes = rows, columns, ties, chunk_bytes
        self.scorer: Scorer = scorer_of(score)
        codes = np.unique(np.concatenate([rows.keys, columns.keys]), return_inverse=True)[1]
        mine, others = codes[: len(rows)], codes[len(rows) :]
        by_count = np.argsort(np.bincount(others, minlength=len(codes)), kind="stable")
        number = np.empty_like(by_count)
        number[by_count] = np.arange(len(by_count))
        rows.sort(number[mine])
        columns.sort(number[others])
        self._held: tuple[slice, np.ndarray] = slice(0, 0), np.empty(0)

    def learn(self, rows: slice, row_side: Best | All | None, column_side: Best | None = None) -> None:
        """Shows the relevant pairs of some of the rows to the two."""
        codes, width = self.columns.codes, tile_columns(self.chunk_bytes)
        first, last = (np.searchsorted(codes, self.rows.codes[rows], end) for end in ("left", "right"))
        spans = [slice(first[p.start], last[p.stop - 1]) for p in blocks(len(first), _RELEVANT_ROWS)]
        parts = list(blocks(rows.stop, _RELEVANT_ROWS, rows.start))
        for held in self._held_columns():
            for part, span in zip(parts, spans, strict=True):
                reach = slice(max(span.start, held.start), min(span.stop, held.stop))
                left: np.ndarray | None = None
                for block in blocks(reach.stop, width, reach.start):
                    i, j = np.nonzero(self.rows.codes[part][:, None] == codes[block])
                    if not i.size:
                        continue
                    if left is None:
                        left = self.scorer.prepare(self.rows.items[self.rows.order[part]])
                    scores = self.scorer.pairs(left, self._right(held, block), i, j)
                    i, j = i + part.start, j + block.start
                    if row_side:
                        row_side.take_in(i - rows.start, j, self.columns.order[j], scores)
                    if column_side:
                        column_side.take_in(j, i, self.rows.order[i], scores)

    def count(
        self, rows: slice, row_marks: Marks | None, column_marks: Marks | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """How many irrelevant items stand before each mark of some of the rows, and of all columns: (n, m) int32."""
        ahead, behind = (
            np.zeros((0, 0) if marks is None else marks.scores.shape, np.int32) for marks in (row_marks, column_marks)
        )
        height, width = tile_shape(self.chunk_bytes, 1 if row_marks is None else row_marks.scores.shape[1])
        for held in self._held_columns():
            for part in blocks(rows.stop, height, rows.start):
                left = self.scorer.prepare(self.rows.items[self.rows.order[part]])
                inside = slice(part.start - rows.start, part.stop - rows.start)
                for block in blocks(held.stop, width, held.start):
                    tile = _Tile(self.scorer, left, self._right(held, block))
                    tile.leave_out(self.rows.codes[part], self.columns.codes[block])
                    if row_marks is not None:
                        ahead[inside] += tile.count(row_marks.part(inside), self.columns.order[block], self.ties)
                    if column_marks is not None:
                        behind[block] += tile.turned().count(column_marks.part(block), self.rows.order[part], self.ties)
        return ahead, behind

    def _held_columns(self) -> Iterator[slice]:
        """Blocks of the columns of which the prepared form is held, one at a time."""
        item_bytes = 4 * max(1, int(np.prod(self.columns.items.shape[1:])))
        yield from blocks(len(self.columns), max(tile_columns(self.chunk_bytes), _HELD_BYTES // item_bytes))

    def _right(self, held: slice, block: slice) -> np.ndarray:
        if self._held[0] != held:
            self._held = held, self._prepared(held)
        return self._held[1][block.start - held.start : block.stop - held.start]

    def _prepared(self, held: slice) -> np.ndarray:
        # In parts that fit the cache, into one array: half the time and half the memory.
        order = self.columns.order[held]
        result = np.empty(0)
        for part in blocks(len(order), _PREPARED_AT_A_TIME):
            prepared = self.scorer.prepare(self.columns.items[order[part]])
            if not part.start:
                result = np.empty((len(order), *prepared.shape[1:]), prepared.dtype)
            result[part] = prepared
        return result


class _Tile:
    """A block of rows against a block of columns: its scores (a, b)."""

    def __init__(self, scorer: Scorer, left: np.ndarray, right: np.ndarray) -> None:
        self.scorer, self.left, self.right = scorer, left, right
        self.scores = scorer.tile(left, right)
        self.slack = scorer.slack(left, right)
        self.left_out = np.empty(0, np.int64)
        self.is_turned = False

    def leave_out(self, codes: np.ndarray, others: np.ndarray) -> None:
        """Makes the scores of relevant pairs NaN, so that they stand before nothing."""
        if codes[0] <= others[-1] and others[0] <= codes[-1]:
            self.left_out = np.flatnonzero(codes[:, None] == others)
            self.scores.ravel()[self.left_out] = np.nan

    def turned(self) -> "_Tile":
        """The same with rows for columns."""
        other = object.__new__(_Tile)
        other.__dict__ |= self.__dict__ | {"scores": np.ascontiguousarray(self.scores.T), "is_turned": True}
        return other

    def count(self, marks: Marks, places: np.ndarray, ties: Ties) -> np.ndarray:
        limit = self.scores.size / PAIR_COST
        try:
            return Tally(self.scores, marks, places, ties, self.slack, self._pairs, limit).counts()
        except NearlyAllNear:
            scores = self.scorer.exact(self.left, self.right)
            scores.ravel()[self.left_out] = np.nan
            scores = np.ascontiguousarray(scores.T) if self.is_turned else scores
            return Tally(scores, marks, places, ties, 0.0, self._pairs, limit).counts()

    def _pairs(self, i: np.ndarray, j: np.ndarray) -> np.ndarray:
        if self.is_turned:
            i, j = j, i
        return self.scorer.pairs(self.left, self.right, i, j)


def tile_columns(chunk_bytes: int) -> int:
    return max(64, chunk_bytes // (4 * _TILE_ROWS))


def tile_shape(chunk_bytes: int, marks: int) -> tuple[int, int]:
    """Rows and columns of a tile: wider than usual for many marks a row, which are looked up in each tile anew."""
    width = tile_columns(chunk_bytes)
    stretch = 1
    while stretch < 8 and stretch * width < 4 * marks:
        stretch *= 2
    return _TILE_ROWS // stretch, width * stretch


def blocks(stop: int, size: int, start: int = 0) -> Iterator[slice]:
    for first in range(start, stop, size):
        yield slice(first, min(first + size, stop))
