"""How a query and a gallery item are scored: the exact cosine or distance, or any function of two blocks.

A float32 matrix product is fast, but the last bits of one and the same inner product depend on where in the
product it stands, so equal items would not tie. A cosine is therefore defined as the inner product of unit
float32 vectors in float64, rounded to float32. The fast product is right to within `slack`; what lies closer
than that to a decision is scored again by `pairs`, or by `exact` where that is most of a block.
"""

from collections.abc import Callable
from typing import Literal, Protocol

import numpy as np

ScoreFunction = Callable[[np.ndarray, np.ndarray], np.ndarray]
Score = ScoreFunction | Literal["cosine", "euclidean"] | None

_PAIRS_AT_A_TIME = 2**11
_WIDE_BYTES = 2**24
# One pair of its own takes as long as so many of a float64 matrix product.
PAIR_COST = 128


class Scorer(Protocol):
    """What ranking needs to know of a score."""

    def prepare(self, items: np.ndarray) -> np.ndarray:
        """Turns a block of raw items (n, ...) into what `tile` and `pairs` take."""

    def tile(self, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        """(a, ...) and (b, ...) -> (a, b) float32 scores, within `slack` of the exact ones."""

    def pairs(self, left: np.ndarray, right: np.ndarray, i: np.ndarray, j: np.ndarray) -> np.ndarray:
        """The exact float32 scores (p,) of the pairs left[i[n]], right[j[n]]."""

    def exact(self, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        """All exact float32 scores (a, b), in a new array."""

    def slack(self, left: np.ndarray, right: np.ndarray) -> float:
        """How far a score of `tile` may lie from the exact one."""

    def shown(self, scores: np.ndarray) -> np.ndarray:
        """Scores as people and clients know them, in the same order."""


class Cosine:
    """The inner product of unit vectors (n, d); a zero vector has the cosine 0 with everything."""

    def prepare(self, items: np.ndarray) -> np.ndarray:
        return normalised(items)

    def tile(self, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        return left @ right.T

    def pairs(self, left: np.ndarray, right: np.ndarray, i: np.ndarray, j: np.ndarray) -> np.ndarray:
        if len(i) * PAIR_COST > len(left) * len(right):
            return self.exact(left, right)[i, j]
        scores = np.empty(len(i), np.float32)
        for start in range(0, len(i), _PAIRS_AT_A_TIME):
            part = slice(start, start + _PAIRS_AT_A_TIME)
            products = np.multiply(left[i[part]], right[j[part]], dtype=np.float64)
            scores[part] = products.sum(axis=1)
        return scores

    def exact(self, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        return (left.astype(np.float64) @ right.T.astype(np.float64)).astype(np.float32)

    def slack(self, left: np.ndarray, right: np.ndarray) -> float:
        # Rounding errors of d products add up like a random walk, of unit vectors to about 2**-24 sqrt(d).
        return 4 * 2.0**-24 * float(np.sqrt(left.shape[1]))

    def shown(self, scores: np.ndarray) -> np.ndarray:
        return scores


class Euclidean:
    """Minus the squared distance of vectors (n, d) as they are: the order of the distance, exactly 0 for equals.

    What is shown is minus the distance.

    Exact is sum (x - y)^2 in float64, rounded to float32.
    """

    def prepare(self, items: np.ndarray) -> np.ndarray:
        """(n, d) -> (n, d + 1) float32: the squared length stands behind each vector."""
        vectors = np.asarray(items, np.float32)
        return np.hstack([vectors, np.einsum("nd,nd->n", vectors, vectors)[:, None]])

    def tile(self, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        scores = left[:, :-1] @ right[:, :-1].T
        scores *= 2
        scores -= left[:, -1:]
        scores -= right[:, -1]
        return scores

    def pairs(self, left: np.ndarray, right: np.ndarray, i: np.ndarray, j: np.ndarray) -> np.ndarray:
        scores = np.empty(len(i), np.float32)
        for start in range(0, len(i), _PAIRS_AT_A_TIME):
            part = slice(start, start + _PAIRS_AT_A_TIME)
            difference = np.subtract(left[i[part], :-1], right[j[part], :-1], dtype=np.float64)
            scores[part] = -np.einsum("nd,nd->n", difference, difference)
        return scores

    def exact(self, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        scores = np.empty((len(left), len(right)), np.float32)
        vectors, step = right[:, :-1].astype(np.float64), max(1, _WIDE_BYTES // (8 * right.size))
        for start in range(0, len(left), step):
            difference = left[start : start + step, None, :-1] - vectors
            scores[start : start + step] = -np.einsum("abd,abd->ab", difference, difference)
        return scores

    def slack(self, left: np.ndarray, right: np.ndarray) -> float:
        lengths = [np.nanmax(side[:, -1], initial=0.0) for side in (left, right)]
        return 4 * 2.0**-24 * float(np.sqrt(left.shape[1])) * float(sum(lengths))

    def shown(self, scores: np.ndarray) -> np.ndarray:
        return -np.sqrt(np.maximum(-scores, 0))


class Custom:
    """Scores from a function of two blocks of items, such as cross-attention, taken as exact."""

    def __init__(self, function: ScoreFunction) -> None:
        self.function = function

    def prepare(self, items: np.ndarray) -> np.ndarray:
        return np.asarray(items)

    def tile(self, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        scores = np.array(self.function(left, right), np.float32, order="C")
        if scores.shape != (len(left), len(right)):
            raise ValueError(f"score returned {scores.shape} for blocks of {len(left)} and {len(right)} items")
        return scores

    def pairs(self, left: np.ndarray, right: np.ndarray, i: np.ndarray, j: np.ndarray) -> np.ndarray:
        return self.tile(left, right)[i, j]

    def exact(self, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        return self.tile(left, right)

    def slack(self, left: np.ndarray, right: np.ndarray) -> float:
        return 0.0

    def shown(self, scores: np.ndarray) -> np.ndarray:
        return scores


def scorer_of(score: Score) -> Scorer:
    """The scorer of a score: the cosine for None; raises ValueError for a name that is none."""
    if callable(score):
        return Custom(score)
    if score not in (None, "cosine", "euclidean"):
        raise ValueError(f"score is {score!r}: neither 'cosine' nor 'euclidean' nor a function")
    return Euclidean() if score == "euclidean" else Cosine()


def turned(score: Score) -> Score:
    """The same score with queries and gallery changing places: turned(score)(b, a) = score(a, b).T."""
    return (lambda left, right: np.asarray(score(right, left)).T) if callable(score) else score


def normalised(vectors: np.ndarray) -> np.ndarray:
    """Unit rows of (n, d) vectors as a new float32 array; a zero row stays zero, a NaN row stays NaN."""
    vectors = np.asarray(vectors, np.float32)
    lengths = np.sqrt(np.einsum("nd,nd->n", vectors, vectors))
    lengths[lengths == 0] = 1.0
    return vectors / lengths[:, None]
