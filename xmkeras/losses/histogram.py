"""Histogram loss: the probability that a random negative pair is more similar than a random positive one.

Source: Ustinova and Lempitsky, NIPS 2016; the row "Histogram" of Table 5 of paper 003 is its cross-modal use.
"""

from __future__ import annotations

from typing import Any

from keras import ops

from xmkeras.losses.pairs import all_pairs

Tensor = Any


def histogram(
    queries: Tensor,
    labels: Tensor,
    references: Tensor | None = None,
    reference_labels: Tensor | None = None,
    *,
    bins: int = 100,
) -> Tensor:
    """sum_r h-_r sum_{q <= r} h+_q over soft histograms h+ and h- of the positive and negative pairs' cosines.

    The bins + 1 nodes lie evenly on [-1, 1]; a cosine between two nodes shares its weight linearly between
    them, and a cosine of 1 falls on the last. Gradients flow through these weights. Each pair is added to its
    two nodes, so that memory does not grow with the number of bins. Without positive or without negative
    pairs (one class, a batch of one) the value is 0. A zero vector has the cosine 0 to everything.

    Args:
        queries: (n, d) embeddings of any length.
        labels: (n,) integers; a pair is positive when its labels are equal.
        references: (m, d), the texts of images or a memory bank; None for the pairs among the queries.
        reference_labels: (m,) integers; `labels` if None.
        bins: number of intervals R.

    Returns:
        A float32 scalar in [0, 1].

    Raises:
        ValueError: fewer than one bin, or a side has not as many labels as rows.

    Example, compiled with a model whose targets are the labels:

    >>> import keras
    >>> from xmkeras import losses
    >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(4)])
    >>> model.compile("sgd", loss=lambda labels, x: losses.histogram(x, keras.ops.reshape(labels, (-1,))))
    >>> x, labels = keras.random.normal((8, 3), seed=0), keras.ops.arange(8) // 2
    >>> 0 <= model.evaluate(x, labels, verbose=0) <= 1
    True
    """
    if bins < 1:
        raise ValueError(f"bins must be at least 1, not {bins}.")
    pairs = all_pairs(queries, labels, references, reference_labels, normalize=True)
    cosines = ops.matmul(pairs.queries, ops.transpose(pairs.references))
    positive, negative = _densities(cosines, pairs.positive, pairs.negative, bins)
    return ops.sum(negative * ops.cumsum(positive))


def _densities(cosines: Tensor, positive: Tensor, negative: Tensor, bins: int) -> tuple[Tensor, Tensor]:
    """Soft histograms (bins + 1,) of the cosines (n, m) under either mask, each of sum 1, or 0 if empty."""
    nodes = bins + 1
    place = (cosines + 1.0) * (bins / 2)
    low = ops.clip(ops.floor(ops.stop_gradient(place)), 0, bins - 1)
    upper_weight = ops.reshape(place - low, (-1,))
    # Three histograms lie side by side: of the positive, the negative and the excluded pairs.
    start = ops.where(positive, 0, ops.where(negative, nodes, 2 * nodes))
    node = ops.reshape(ops.cast(low, "int32") + ops.cast(start, "int32"), (-1,))
    counts = ops.segment_sum(1.0 - upper_weight, node, 3 * nodes)
    counts = counts + ops.segment_sum(upper_weight, node + 1, 3 * nodes)
    return _normalised(counts[:nodes]), _normalised(counts[nodes : 2 * nodes])


def _normalised(counts: Tensor) -> Tensor:
    return counts / ops.maximum(ops.stop_gradient(ops.sum(counts)), 1.0)
