"""Energy confusion: the mean squared distance between samples of different classes, to be made small.

Source: Chen and Deng, "Energy Confused Adversarial Metric Learning", AAAI 2019; equation 7 of paper 002.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from xmkeras.losses.pairs import Pairs, all_pairs, as_weights, choose, squared_distances

Tensor = Any

MODES = ("exact", "sampled", "later")
AVERAGES = ("pairs", "classes")
SMALLEST_ENERGY = 1e-12


def energy_confusion(
    queries: Tensor,
    labels: Tensor,
    references: Tensor | None = None,
    reference_labels: Tensor | None = None,
    *,
    mode: str = "exact",
    average: str = "pairs",
    log: bool = False,
    half: bool = False,
    samples: int = 10,
    seed: int | keras.random.SeedGenerator | None = None,
) -> Tensor:
    """Mean of |x_i - x_j|^2 over pairs of different classes; added to a metric loss with a small weight.

    Without a pair of different classes the value is 0, under `log` log(1e-12) = -27.6 with the gradient 0,
    as for coinciding vectors.

    Args:
        queries: (n, d) embeddings, as they are.
        labels: (n,) integers.
        references: (m, d), the texts of images or a memory bank; None for the pairs among the queries.
        reference_labels: (m,) integers; `labels` if None.
        mode: "exact" takes all pairs; "sampled" draws `samples` references for each query and keeps those of
            another class; "later" draws them two places behind the query or later and adds the mean over the
            drawn pairs of one class, as the authors' release does.
        average: for "exact": over all "pairs" alike, or over pairs of "classes", each having the same weight.
        log: the logarithm of the energy, whose gradient the authors' release follows.
        half: |.|^2/2 in place of |.|^2, as in the authors' release.
        samples: draws for each query.
        seed: for the draws: an integer for the same draw at every call, or a keras.random.SeedGenerator.

    Returns:
        A float32 scalar.

    Raises:
        ValueError: an unknown choice, or a side has not as many labels as rows.

    Example:

    >>> from keras import ops
    >>> from xmkeras import losses
    >>> x = ops.convert_to_tensor([[0.0], [1.0], [3.0]])
    >>> float(losses.energy_confusion(x, [0, 0, 1]))
    6.5
    """
    choose("mode", mode, MODES)
    choose("average", average, AVERAGES)
    pairs = all_pairs(queries, labels, references, reference_labels)
    if mode == "exact":
        weights = _class_weights(pairs) if average == "classes" else as_weights(pairs.negative)
        energy = _weighted_mean(squared_distances(pairs.queries, pairs.references), weights)
    else:
        energy = _sampled_energy(pairs, samples, seed, later=mode == "later")
    energy = 0.5 * energy if half else energy
    return ops.log(ops.maximum(energy, SMALLEST_ENERGY)) if log else energy


def _weighted_mean(values: Tensor, weights: Tensor) -> Tensor:
    total = ops.sum(weights)
    return ops.sum(weights * values) / ops.where(total > 0, total, 1.0)


def _class_weights(pairs: Pairs) -> Tensor:
    """Weights (n, m) of the negative pairs that add up to 1 for each pair of classes."""
    negative = as_weights(pairs.negative)
    same = 1.0 - negative
    of_query, of_reference = ops.matmul(same, ops.transpose(same)), ops.matmul(ops.transpose(same), same)
    rows = ops.sum(as_weights(of_query > 0), axis=1, keepdims=True)
    columns = ops.sum(as_weights(of_reference > 0), axis=0, keepdims=True)
    return negative / ops.maximum(rows, 1.0) / ops.maximum(columns, 1.0)


def _sampled_energy(pairs: Pairs, samples: int, seed: Any, later: bool) -> Tensor:
    """Mean over drawn pairs of different classes, plus, under `later`, the mean over those of one class."""
    n, m = ops.shape(pairs.negative)
    first = ops.expand_dims(ops.arange(n) + 2, 1) if later else ops.zeros((1, 1), dtype="int32")
    first = ops.cast(first, "float32")
    draws = keras.random.uniform((n, samples), seed=seed, dtype="float32")
    drawn = ops.floor(first + draws * (ops.cast(m, "float32") - first))
    drawn = ops.minimum(ops.cast(drawn, "int32"), ops.cast(m - 1, "int32"))
    exists = first < ops.cast(m, "float32")
    difference = ops.expand_dims(pairs.queries, 1) - ops.take(pairs.references, drawn, axis=0)
    squared = ops.sum(ops.square(difference), axis=2)
    kept = [ops.logical_and(ops.take_along_axis(mask, drawn, axis=1), exists) for mask in pairs[2:]]
    energy = _weighted_mean(squared, as_weights(kept[1]))
    return energy + _weighted_mean(squared, as_weights(kept[0])) if later else energy
