"""Numbers made from the ranks of all relevant items of a query: average precision and its relatives.

Throughout, ranks (n, m) are the ascending 0-based ranks of the relevant items of n queries, padded with the size of
the gallery where a query has fewer than m, and relevant (n,) says how many it has: what `ranking.relevant_ranks`
yields. The functions return one float64 in [0, 1] a query; a query without a relevant item gets 0.
"""

from typing import Literal

import numpy as np

DivideBy = Literal["relevant", "found", "possible"]


def average_precision(
    ranks: np.ndarray,
    relevant: np.ndarray,
    *,
    k: int | None = None,
    divide_by: DivideBy = "relevant",
    count_hit: bool = True,
) -> np.ndarray:
    """AP = sum over relevant items of the precision at their rank / a number of relevant items; (n,).

    The three published kinds: the full ranking divided by all relevant items, the default (IRRA, DSCMR); the first k
    ranks divided by the relevant items "found" there, k = 50 (ACMR, DAML); the first k ranks divided by min(k,
    relevant), which were "possible" (TREC). count_hit=False is the released CMPL evaluation, whose precision at a
    relevant item leaves that item out, but not at the first rank (it counts the hits among max(1, rank) items, rank
    from 0). One relevant item: AP = 1 / (rank + 1). Raises ValueError for another `divide_by`.
    """
    hits = np.arange(ranks.shape[1]) + (count_hit | (ranks == 0))
    inside = np.arange(ranks.shape[1]) < np.asarray(relevant)[:, None]
    if k is not None:
        inside &= ranks < k
    total = np.where(inside, hits / (ranks + 1.0), 0.0).sum(axis=1)
    return total / np.maximum(_divisor(inside, relevant, k, divide_by), 1)


def _divisor(inside: np.ndarray, relevant: np.ndarray, k: int | None, divide_by: DivideBy) -> np.ndarray:
    if divide_by == "found":
        return inside.sum(axis=1)
    if divide_by == "possible":
        return np.minimum(relevant, np.inf if k is None else k)
    if divide_by == "relevant":
        return np.asarray(relevant)
    raise ValueError(f"divide_by is {divide_by!r}, not 'relevant', 'found' or 'possible'")


def average_precision_at_r(ranks: np.ndarray, relevant: np.ndarray) -> np.ndarray:
    """AP of the first R ranks divided by R, the relevant items of the query (Musgrave et al. 2020, MAP@R); (n,)."""
    relevant = np.asarray(relevant)
    inside = ranks < relevant[:, None]
    precision = (np.arange(ranks.shape[1]) + 1) / (ranks + 1.0)
    return np.where(inside, precision, 0.0).sum(axis=1) / np.maximum(relevant, 1)


def inverse_negative_penalty(ranks: np.ndarray, relevant: np.ndarray) -> np.ndarray:
    """R / (1-based rank of the last relevant item), Ye et al. 2021; its mean is mINP; (n,)."""
    relevant = np.asarray(relevant)
    last = np.take_along_axis(ranks, np.maximum(relevant - 1, 0)[:, None], axis=1)[:, 0]
    return relevant / (last + 1.0)


def precision_at_k(ranks: np.ndarray, k: int) -> np.ndarray:
    """The share of relevant items among the first k; a gallery of fewer than k items has no more hits; (n,)."""
    return np.count_nonzero(ranks < k, axis=1) / k


def precision_scope(ranks: np.ndarray, k_max: int, *, shifted: bool = False) -> np.ndarray:
    """P(K) for K = 1 ... k_max, the mean over the queries; (k_max,), k_max at most the size of the gallery.

    shifted: the curve of the ACMR release, which counts the hits of the first K - 1 ranks and divides by K.
    """
    first = np.minimum(ranks, k_max).ravel()
    hits = np.cumsum(np.bincount(first, minlength=k_max)[:k_max])
    if shifted:
        hits = np.concatenate([[0], hits[:-1]])
    return hits / (len(ranks) * np.arange(1.0, k_max + 1))


def enough_near(ranks: np.ndarray, *, k: int = 5, needed: int = 3) -> np.ndarray:
    """Whether at least `needed` of the first k items are relevant, as (n,) bool; three of five is kNN accuracy."""
    if ranks.shape[1] < needed:
        return np.zeros(len(ranks), bool)
    return ranks[:, needed - 1] < k


def chance_average_precision(relevant: np.ndarray, gallery: int) -> float:
    """Expected AP, in [0, 1], when the gallery is put in a random order; relevant (n,), each at least 1.

    An item at rank i is relevant with probability R/n, and so are (R - 1)/(n - 1) of those before it:
    E AP = (H_n + (n - H_n) (R - 1)/(n - 1)) / n, with H_n the harmonic number.
    """
    relevant = np.asarray(relevant, np.float64)
    harmonic = _harmonic(gallery)[-1]
    others = (relevant - 1) / max(gallery - 1, 1)
    return float(np.mean((harmonic + (gallery - harmonic) * others) / gallery))


def chance_average_precision_at_r(relevant: np.ndarray, gallery: int) -> float:
    """Expected MAP@R in a random order; as `chance_average_precision`, the sum stopping at R."""
    relevant = np.asarray(relevant, np.int64)
    harmonic = _harmonic(gallery)[relevant]
    others = (relevant - 1) / max(gallery - 1, 1)
    return float(np.mean((harmonic + (relevant - harmonic) * others) / gallery))


def chance_inverse_negative_penalty(relevant: np.ndarray, gallery: int) -> float:
    """Expected R / (last rank) in a random order: the last rank is at most L with C(L, R) / C(n, R)."""
    counts, weights = np.unique(np.asarray(relevant), return_counts=True)
    places = np.arange(gallery, 0, -1.0)
    expected = np.empty(len(counts))
    for index, count in enumerate(counts):
        # C(L - 1, R) / C(L, R) = (L - R) / L, from L = n down.
        within = np.cumprod(np.concatenate([[1.0], np.maximum(places - count, 0) / places]))
        expected[index] = (count / places * -np.diff(within)).sum()
    return float(np.average(expected, weights=weights))


def _harmonic(count: int) -> np.ndarray:
    """(count + 1,) the sums 1 + 1/2 + ... + 1/i for i = 0 ... count."""
    return np.concatenate([[0.0], np.cumsum(1.0 / np.arange(1, count + 1))])
