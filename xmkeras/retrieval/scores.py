"""How a query and a gallery item are scored: the exact cosine, or any function of two blocks.

A float32 matrix product is fast, but the last bits of one and the same inner product depend on where in the
product it stands, so equal items would not tie. A cosine is therefore defined as the inner product of unit
float32 vectors in float64, rounded to float32. The fast product is right to within `slack`; what lies closer
than that to a decision is scored again by `pairs`.
"""

from collections.abc import Callable
from typing import Protocol

import numpy as np

ScoreFunction = Callable[[np.ndarray, np.ndarray], np.ndarray]

_PAIRS_AT_A_TIME = 2**11


class Scorer(Protocol):
    """What ranking needs to know of a score."""

    def prepare(self, items: np.ndarray) -> np.ndarray:
        """Turns a block of raw items (n, ...) into what `tile` and `pairs` take."""

    def tile(self, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        """(a, ...) and (b, ...) -> (a, b) float32 scores, within `slack` of the exact ones."""

    def pairs(self, left: np.ndarray, right: np.ndarray, i: np.ndarray, j: np.ndarray) -> np.ndarray:
        """The exact float32 scores (p,) of the pairs left[i[n]], right[j[n]]."""

    def slack(self, left: np.ndarray) -> float:
        """How far a score of `tile` may lie from the exact one."""


class Cosine:
    """The inner product of unit vectors (n, d); a zero vector has the cosine 0 with everything."""

    def prepare(self, items: np.ndarray) -> np.ndarray:
        return normalised(items)

    def tile(self, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        return left @ right.T

    def pairs(self, left: np.ndarray, right: np.ndarray, i: np.ndarray, j: np.ndarray) -> np.ndarray:
        if len(i) * 16 > len(left) * len(right):
            return (left.astype(np.float64) @ right.T.astype(np.float64))[i, j].astype(np.float32)
        scores = np.empty(len(i), np.float32)
        for start in range(0, len(i), _PAIRS_AT_A_TIME):
            part = slice(start, start + _PAIRS_AT_A_TIME)
            products = np.multiply(left[i[part]], right[j[part]], dtype=np.float64)
            scores[part] = products.sum(axis=1)
        return scores

    def slack(self, left: np.ndarray) -> float:
        # Rounding errors of d products add up like a random walk, of unit vectors to about 2**-24 sqrt(d).
        return 8 * 2.0**-24 * float(np.sqrt(left.shape[1]))


class Custom:
    """Scores from a function of two blocks of items, such as cross-attention, taken as exact."""

    def __init__(self, function: ScoreFunction) -> None:
        self.function = function

    def prepare(self, items: np.ndarray) -> np.ndarray:
        return np.asarray(items)

    def tile(self, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        scores = np.array(self.function(left, right), np.float32)
        if scores.shape != (len(left), len(right)):
            raise ValueError(f"score returned {scores.shape} for blocks of {len(left)} and {len(right)} items")
        return scores

    def pairs(self, left: np.ndarray, right: np.ndarray, i: np.ndarray, j: np.ndarray) -> np.ndarray:
        return self.tile(left, right)[i, j]

    def slack(self, left: np.ndarray) -> float:
        return 0.0


def normalised(vectors: np.ndarray) -> np.ndarray:
    """Unit rows of (n, d) vectors as a new float32 array; a zero row stays zero, a NaN row stays NaN."""
    vectors = np.asarray(vectors, np.float32)
    lengths = np.sqrt(np.einsum("nd,nd->n", vectors, vectors))
    lengths[lengths == 0] = 1.0
    return vectors / lengths[:, None]
