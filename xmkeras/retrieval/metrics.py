"""Numbers made from ranks: recall, median and mean rank, their chance values, and the paired bootstrap.

Ranks are 0-based places of the best relevant item, as `ranking.ranks` returns them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

_FALLING = ("median_rank", "mean_rank")


def lower_is_better(name: str) -> bool:
    """Whether less of the figure `name`, such as "text_to_image/mean_rank", is better: so it is of ranks alone."""
    return name.rpartition("/")[2] in _FALLING


def recall_at_k(ranks: np.ndarray, k: int) -> float:
    """The share of queries, in percent, whose best relevant item is among the first k; ranks (q,), q > 0."""
    return 100.0 * float(np.mean(np.asarray(ranks) < k))


def median_rank(ranks: np.ndarray) -> int:
    """floor(median of the 0-based ranks) + 1, as the released SCAN evaluation has it: 1 is best."""
    return int(np.floor(np.median(ranks))) + 1


def mean_rank(ranks: np.ndarray) -> float:
    """The mean of the 1-based ranks: 1 is best."""
    return float(np.mean(ranks)) + 1.0


def chance_recall_at_k(relevant: np.ndarray, gallery: int, k: int) -> float:
    """Expected recall in percent when the gallery is put in a random order.

    relevant: (q,) how many of the `gallery` items are relevant to each query. The first k hold none of m
    relevant items with the hypergeometric probability C(gallery - m, k) / C(gallery, k).
    """
    survival = chance_survival(relevant, gallery)
    return 100.0 * float(1.0 - survival[min(k, gallery)])


def chance_mean_rank(relevant: np.ndarray, gallery: int) -> float:
    """Expected 1-based mean rank in a random order: (gallery + 1) / (m + 1) for m relevant items."""
    return float(np.mean((gallery + 1) / (np.asarray(relevant) + 1.0)))


def chance_median_rank(relevant: np.ndarray, gallery: int) -> int:
    """The 1-based rank that half of the queries reach or better in a random order."""
    return int(np.argmax(chance_survival(relevant, gallery) <= 0.5 + 1e-12))


def chance_survival(relevant: np.ndarray, gallery: int) -> np.ndarray:
    """(gallery + 1,) mean probability that the first k = 0, 1, ... places hold nothing relevant."""
    counts, weights = np.unique(np.asarray(relevant), return_counts=True)
    places = np.arange(gallery)
    survival = np.zeros(gallery + 1)
    for count, weight in zip(counts, weights, strict=True):
        steps = np.maximum(gallery - count - places, 0) / (gallery - places)
        survival += weight * np.concatenate([[1.0], np.cumprod(steps)])
    return survival / weights.sum()


@dataclass(frozen=True)
class Difference:
    """A paired comparison: mean(first - second), its interval [low, high] and a two-sided p-value."""

    mean: float
    low: float
    high: float
    p: float

    def __str__(self) -> str:
        return f"{self.mean:+.2f} [{self.low:+.2f}, {self.high:+.2f}], p = {self.p:.4f}"


def paired_bootstrap(
    first: np.ndarray,
    second: np.ndarray,
    *,
    samples: int = 10_000,
    confidence: float = 0.95,
    seed: int = 0,
) -> Difference:
    """Bootstrap over queries of the difference of two results on the same queries.

    first, second: (q,) results a query, for instance 100 where it is a hit and 0 where not. The interval is
    that of percentiles; p is twice the smaller share of resampled means on either side of 0, each counted
    with one sample more, so that it is never 0 (Davison and Hinkley, Bootstrap Methods and their Application,
    section 4.4). Where queries belong together, as the captions of an image do, sum them up first
    (`rsum_by_image`). Raises ValueError when the two do not have the same length, or none.
    """
    first, second = np.asarray(first, np.float64), np.asarray(second, np.float64)
    if first.shape != second.shape or first.ndim != 1 or not len(first):
        raise ValueError(f"results of shape {first.shape} and {second.shape} are not paired: both must be (q,)")
    difference = first - second
    means = _resampled_means(difference, samples, np.random.default_rng(seed))
    tail = (1 - confidence) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    smaller = min(np.count_nonzero(means <= 0), np.count_nonzero(means >= 0))
    p = min(1.0, 2 * (smaller + 1) / (samples + 1))
    return Difference(float(difference.mean()), float(low), float(high), float(p))


def _resampled_means(values: np.ndarray, samples: int, generator: np.random.Generator) -> np.ndarray:
    means = np.empty(samples)
    step = max(1, 2**22 // len(values))
    for start in range(0, samples, step):
        size = min(step, samples - start)
        means[start : start + size] = values[generator.integers(0, len(values), (size, len(values)))].mean(axis=1)
    return means


def rsum_by_image(
    image_to_text: np.ndarray,
    text_to_image: np.ndarray,
    image_ids: np.ndarray,
    text_ids: np.ndarray,
    ks: Sequence[int] = (1, 5, 10),
) -> np.ndarray:
    """What each image and its texts add to the sum of all recalls; the mean over the images is rsum.

    image_to_text: (n,) ranks of the images, image_ids (n,); text_to_image: (m,) ranks of the texts, text_ids
    (m,) the ids of their images. Returns (n,) float64, to be resampled by `paired_bootstrap` as one unit.
    """
    place = {image_id: index for index, image_id in enumerate(np.asarray(image_ids).tolist())}
    owner = np.array([place[image_id] for image_id in np.asarray(text_ids).tolist()], np.int64)
    hits = _hits(image_to_text, ks)
    hits += np.bincount(owner, _hits(text_to_image, ks), len(place)) * (len(place) / len(owner))
    return 100.0 * hits


def _hits(ranks: np.ndarray, ks: Sequence[int]) -> np.ndarray:
    return (np.asarray(ranks)[:, None] < np.asarray(ks)).sum(axis=1).astype(np.float64)
