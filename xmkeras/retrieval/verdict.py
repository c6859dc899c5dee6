"""What a person has to be told of a model that has learnt nothing, in a sentence."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from xmkeras.retrieval.embeddings import EmbeddingSet
from xmkeras.retrieval.measured import Measured
from xmkeras.retrieval.metrics import lower_is_better

# From this mean cosine of two different items on, they are told apart by rounding alone.
_ALIKE = 0.999
_SAMPLE = 1000
# The first of them that a protocol measures tells whether anything was learnt.
_HEADLINES = ("rsum", "mAP", "R@1")

ADVICE = "train longer, with pretrained weights, or with another --learning_rate"


def at_chance(figures: Mapping[str, float], name: str) -> str:
    """A sentence where the figure `name` is no better than that of a random order, `chance/name`, "" elsewhere."""
    chance = figures.get(f"chance/{name}")
    if chance is None or name not in figures:
        return ""
    value = figures[name]
    learnt = value < chance if lower_is_better(name) else value > chance
    if learnt:
        return ""
    return f"{name} is {value:.1f}, and a random order has {chance:.1f}: the model has learnt nothing; {ADVICE}."


def all_alike(side: str, vectors: np.ndarray, score: Any = None) -> str:
    """A sentence where the embeddings of a side, (n, d), are nearly equal; "" where they are not.

    Only cosines are judged, `score` None or "cosine": a distance may be as small as it likes.
    """
    if score not in (None, "cosine") or getattr(vectors, "ndim", 0) != 2 or len(vectors) < 2:
        return ""
    sample = np.asarray(vectors[:: max(1, len(vectors) // _SAMPLE)], np.float64)
    length = np.linalg.norm(sample, axis=1, keepdims=True)
    unit = np.divide(sample, length, out=np.zeros_like(sample), where=length > 0)
    count = len(unit)
    # The squared length of the sum is the sum of all cosines, those of each item with itself among them.
    mean = (np.square(unit.sum(0)).sum() - np.square(unit).sum()) / (count * (count - 1))
    if mean < _ALIKE and length.any():
        return ""
    return f"The embeddings of the {side}s are nearly equal (mean cosine {mean:.4f}), so that scores tell little."


def of_sets(sets: Mapping[str, EmbeddingSet], score: Any = None) -> str:
    """The sentences of `all_alike` for each side."""
    return " ".join(filter(None, (all_alike(side, one.vectors, score) for side, one in sets.items())))


def of_measured(measured: Measured) -> str:
    """What is to be told of a split that was measured; "" where all is well."""
    metric = next((name for name in _HEADLINES if f"chance/{name}" in measured.results), "")
    sets = {"image": measured.images} | ({} if measured.texts is None else {"text": measured.texts})
    return " ".join(filter(None, (at_chance(measured.results, metric), of_sets(sets, measured.score))))
