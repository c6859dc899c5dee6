"""The counting behind `ranking`: two sides sorted by key, compared one tile of scores at a time."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal, get_args

import numpy as np

from xmkeras.retrieval.scores import Cosine, Custom, ScoreFunction, Scorer

Ties = Literal["pessimistic", "optimistic", "index"]

_TILE_ROWS = 512
_HELD_BYTES = 2**26


@dataclass
class Side:
    """One of the two sets, taken in the order of its keys, so that relevant pairs lie together in few tiles.

    codes: dense numbers of the keys, ascending. In the same order, over the relevant items of the other set,
    best:
    their highest score, best_index: its place there (the latest of several); ahead: how many irrelevant items
    of the other set stand before it. They are worked out for a `wanted` side only.
    """

    items: np.ndarray
    keys: np.ndarray
    wanted: bool = True
    order: np.ndarray = field(init=False)
    codes: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        self.keys = np.asarray(self.keys)
        if len(self.items) != len(self.keys):
            raise ValueError(f"{len(self.items)} items but {len(self.keys)} keys")
        self.best = np.full(len(self), -np.inf, np.float32)
        self.best_index = np.full(len(self), -1, np.int64)
        self.ahead = np.zeros(len(self), np.int64)

    def __len__(self) -> int:
        return len(self.items)

    def sort(self, codes: np.ndarray) -> None:
        self.order = np.argsort(codes, kind="stable")
        self.codes = codes[self.order]

    def relevant(self, other: "Side") -> np.ndarray:
        """How many items of the other side share the key of each of these, in sorted order."""
        first, last = (np.searchsorted(other.codes, self.codes, end) for end in ("left", "right"))
        return last - first

    def ranks(self, other: "Side") -> np.ndarray:
        result = np.empty(len(self), np.int64)
        irrelevant = len(other) - self.relevant(other)
        result[self.order] = np.where(self.best == -np.inf, irrelevant, self.ahead)
        return result

    def take_in(self, part: slice, mine: np.ndarray, others: np.ndarray, scores: np.ndarray) -> None:
        """Learns of relevant pairs: places in the block `part`, places in the other set, their scores."""
        best, index = self.best[part], self.best_index[part]
        before = best.copy()
        np.fmax.at(best, mine, scores)
        index[best > before] = -1
        top = scores == best[mine]
        np.maximum.at(index, mine[top], others[top])

    def count(self, tile: "_Tile", axis: int, other_order: np.ndarray, ties: Ties, scorer: Scorer) -> None:
        """Adds who stands before the best relevant item within a tile; this side is its axis `axis`."""
        part, across, slack = (tile.rows, tile.columns)[axis], 1 - axis, np.float32(scorer.slack(tile.left))
        best = np.expand_dims(self.best[part], across)
        clear = tile.scores > best + slack
        near = tile.scores >= best - slack
        near ^= clear
        self.ahead[part] += np.count_nonzero(clear, axis=across)
        # np.nonzero of a matrix is fifteen times slower than this.
        pairs = np.divmod(np.flatnonzero(near), near.shape[1])
        mine, others = pairs[axis], other_order[pairs[across]]
        scores = scorer.pairs(tile.left, tile.right, *pairs) if slack else tile.scores[pairs]
        before = self._stands_before(scores, part.start + mine, others, ties)
        self.ahead[part] += np.bincount(mine[before], minlength=best.size)

    def _stands_before(self, scores: np.ndarray, mine: np.ndarray, others: np.ndarray, ties: Ties) -> np.ndarray:
        best = self.best[mine]
        if ties == "pessimistic":
            return scores >= best
        if ties == "optimistic":
            return scores > best
        return (scores > best) | ((scores == best) & (others > self.best_index[mine]))


@dataclass
class _Tile:
    """A block of rows against a block of columns; relevant: flat places of its relevant pairs."""

    rows: slice
    columns: slice
    left: np.ndarray
    right: np.ndarray
    relevant: np.ndarray
    scores: np.ndarray = field(init=False)


def rank(rows: Side, columns: Side, ties: Ties, score: ScoreFunction | None, chunk_bytes: int) -> None:
    """Fills in what both sides want to know of each other; arguments and errors as in `ranking.ranks`."""
    if ties not in get_args(Ties):
        raise ValueError(f"ties is {ties!r}, not one of {get_args(Ties)}")
    codes = np.unique(np.concatenate([rows.keys, columns.keys]), return_inverse=True)[1]
    rows.sort(codes[: len(rows)])
    columns.sort(codes[len(rows) :])
    scorer: Scorer = Custom(score) if score else Cosine()
    width = tile_columns(chunk_bytes)
    for tile in _tiles(rows, columns, scorer, width, relevant_only=True):
        i, j = np.divmod(tile.relevant, len(tile.right))
        scores = scorer.pairs(tile.left, tile.right, i, j)
        rows.take_in(tile.rows, i, columns.order[tile.columns][j], scores)
        columns.take_in(tile.columns, j, rows.order[tile.rows][i], scores)
    for tile in _tiles(rows, columns, scorer, width):
        tile.scores = scorer.tile(tile.left, tile.right)
        tile.scores.ravel()[tile.relevant] = np.nan
        if rows.wanted:
            rows.count(tile, 0, columns.order[tile.columns], ties, scorer)
        if columns.wanted:
            columns.count(tile, 1, rows.order[tile.rows], ties, scorer)


def _tiles(rows: Side, columns: Side, scorer: Scorer, width: int, *, relevant_only: bool = False) -> Iterator[_Tile]:
    """All tiles, or those with relevant pairs; a bounded share of the prepared columns is held at a time."""
    item_bytes = 4 * max(1, int(np.prod(columns.items.shape[1:])))
    for held in blocks(len(columns), max(width, _HELD_BYTES // item_bytes)):
        right: np.ndarray | None = None
        for part in blocks(len(rows), _TILE_ROWS):
            left: np.ndarray | None = None
            for block in blocks(held.stop, width, held.start):
                relevant = _relevant(rows.codes[part], columns.codes[block])
                if relevant_only and not relevant.size:
                    continue
                if right is None:
                    right = scorer.prepare(columns.items[columns.order[held]])
                if left is None:
                    left = scorer.prepare(rows.items[rows.order[part]])
                inside = slice(block.start - held.start, block.stop - held.start)
                yield _Tile(part, block, left, right[inside], relevant)


def _relevant(codes: np.ndarray, others: np.ndarray) -> np.ndarray:
    if codes[-1] < others[0] or others[-1] < codes[0]:
        return np.empty(0, np.int64)
    return np.flatnonzero(codes[:, None] == others)


def tile_columns(chunk_bytes: int) -> int:
    return max(64, chunk_bytes // (4 * _TILE_ROWS))


def blocks(stop: int, size: int, start: int = 0) -> Iterator[slice]:
    for first in range(start, stop, size):
        yield slice(first, min(first + size, stop))
