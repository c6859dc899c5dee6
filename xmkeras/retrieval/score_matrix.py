"""A matrix of scores on disk, made in shards by any function of two blocks, and ranked like vectors.

A score that looks at every word and every region of a pair is computed once, into an .npy file. Then the items of the
matrix are their places in it (`by_place`), and a `MatrixScore` looks the scores up, so that ranks, folds and pictures
need not know of it.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from xmkeras.bars import progress
from xmkeras.errors import UserError
from xmkeras.files import explained, new_array
from xmkeras.retrieval.counting import blocks
from xmkeras.retrieval.embeddings import EmbeddingSet
from xmkeras.retrieval.sequences import Block, Sequences

_ROWS = 256


def compute(
    path: str | os.PathLike[str],
    images: EmbeddingSet,
    texts: EmbeddingSet,
    score: Callable[[Block, Block], Any],
    *,
    shard: tuple[int, int] = (128, 256),
) -> np.ndarray:
    """The scores of all n images with all m texts, memory-mapped float32 (n, m) in the .npy file `path`.

    score: called with at most `shard` images and texts, each what `EmbeddingSet.block` gives of them: float32 (b, d),
    or of sequences a pair, float32 (b, length, d) and bool (b, length). Returns (a, b), anything that NumPy can read.
    Sequences are taken in the order of their lengths, so that little of a shard is padding, and their scores put where
    they belong. The file is in place only once it is whole. Raises UserError when it cannot be written, ValueError
    for scores of another shape.
    """
    with explained(path), new_array(path, (len(images), len(texts))) as matrix:
        shards = progress(_shards(images, shard[0]), len(images), "scoring images", size=len)
        for rows in shards:
            block = images.block(rows)
            for columns in _shards(texts, shard[1]):
                scores = np.asarray(score(block, texts.block(columns)), np.float32)
                if scores.shape != (len(rows), len(columns)):
                    raise ValueError(f"score returned {scores.shape} for {len(rows)} images and {len(columns)} texts")
                matrix[np.ix_(rows, columns)] = scores
    return _opened(path)


def mean(matrices: Sequence[np.ndarray], path: str | os.PathLike[str]) -> np.ndarray:
    """The mean of the score matrices (n, m) of an ensemble, as `compute` leaves it; UserError when shapes differ."""
    shapes = {matrix.shape for matrix in matrices}
    if len(shapes) != 1:
        raise UserError(f"score matrices of shapes {sorted(shapes)} have no mean: score the same split with each model")
    with explained(path), new_array(path, shapes.pop()) as result:
        for rows in blocks(len(result), _ROWS):
            result[rows] = np.mean([matrix[rows] for matrix in matrices], axis=0, dtype=np.float64)
    return _opened(path)


def by_place(embeddings: EmbeddingSet) -> EmbeddingSet:
    """The same items, each with its place among them, int64 (n, 1), for its vector: what a `MatrixScore` takes.

    A part taken of it keeps its places, so that folds and single queries find their scores.
    """
    return EmbeddingSet(embeddings.ids, embeddings.labels, np.arange(len(embeddings))[:, None])


@dataclass(frozen=True)
class MatrixScore:
    """A `scores.Score` that looks up a matrix (n, m): the places of images (a, 1) and texts (b, 1) -> (a, b)."""

    matrix: np.ndarray

    def __call__(self, images: np.ndarray, texts: np.ndarray) -> np.ndarray:
        return self.matrix[np.ix_(images[:, 0], texts[:, 0])]


def _shards(items: EmbeddingSet, size: int) -> Iterator[np.ndarray]:
    ragged = isinstance(items.vectors, Sequences)
    order = np.argsort(items.vectors.lengths, kind="stable") if ragged else np.arange(len(items))
    for part in blocks(len(items), size):
        yield order[part]


def _opened(path: str | os.PathLike[str]) -> np.ndarray:
    matrix: np.ndarray = np.load(path, mmap_mode="r")
    return matrix
