"""Losses over all pairs of a batch, weighted by how hard they are: multi-similarity and supervised contrastive.

Sources: Wang et al., "Multi-Similarity Loss with General Pair Weighting for Deep Metric Learning", CVPR 2019; Khosla et
al., "Supervised Contrastive Learning", NeurIPS 2020.
"""

from __future__ import annotations

from typing import Any

from keras import ops

from xmkeras.losses.pairs import all_pairs, as_weights, log_one_plus_sum, masked_mean

Tensor = Any


def multi_similarity(
    queries: Tensor,
    labels: Tensor,
    references: Tensor | None = None,
    reference_labels: Tensor | None = None,
    *,
    alpha: float = 2.0,
    beta: float = 50.0,
    base: float = 0.5,
    epsilon: float | None = 0.1,
) -> Tensor:
    """Mean over queries of log(1 + sum_p e^(-alpha (s - base)))/alpha + log(1 + sum_n e^(beta (s - base)))/beta.

    s are cosines (equation 15). Mined are the positives less similar than the most similar negative plus epsilon, and
    the negatives more similar than the least similar positive minus epsilon (equations 6 and 7); a query without
    positives or without negatives costs nothing then.

    Args:
        queries: (n, d) of any length.
        labels: (n,) integers.
        references: (m, d), the texts of images or a memory bank; None for the pairs among the queries.
        reference_labels: (m,) integers; `labels` if None.
        alpha: sharpness of positives.
        beta: sharpness of negatives.
        base: lambda, the cosine from which pairs count.
        epsilon: of the mining; None takes all pairs.

    Returns:
        A float32 scalar, at least 0.

    Raises:
        ValueError: a side has not as many labels as rows.

    Example:

    >>> from keras import ops
    >>> from xmkeras import losses
    >>> round(float(losses.multi_similarity(ops.ones((4, 3)), [0, 0, 1, 1])), 4)
    0.6705
    """
    pairs = all_pairs(queries, labels, references, reference_labels, normalize=True)
    cosines = ops.matmul(pairs.queries, ops.transpose(pairs.references))
    positive, negative = pairs.positive, pairs.negative
    if epsilon is not None:
        hardest = ops.max(ops.where(negative, cosines, -float("inf")), axis=1, keepdims=True)
        easiest = ops.min(ops.where(positive, cosines, float("inf")), axis=1, keepdims=True)
        positive = ops.logical_and(positive, cosines - epsilon < hardest)
        negative = ops.logical_and(negative, cosines + epsilon > easiest)
    drawn = log_one_plus_sum(alpha * (base - cosines), positive, axis=1) / alpha
    repelled = log_one_plus_sum(beta * (cosines - base), negative, axis=1) / beta
    return ops.mean(drawn + repelled)


def supervised_contrastive(
    queries: Tensor,
    labels: Tensor,
    references: Tensor | None = None,
    reference_labels: Tensor | None = None,
    *,
    temperature: float = 0.1,
) -> Tensor:
    """Mean over queries with positives of the mean over these of -log softmax of cosine/temperature over all others.

    Equation 2, L_out. Without positives the value is 0.

    Args:
        queries: (n, d) of any length.
        labels: (n,) integers.
        references: (m, d), the texts of images or a memory bank; None for the pairs among the queries.
        reference_labels: (m,) integers; `labels` if None.
        temperature: of the softmax.

    Returns:
        A float32 scalar, at least 0.

    Raises:
        ValueError: a side has not as many labels as rows.

    Example:

    >>> from keras import ops
    >>> from xmkeras import losses
    >>> round(float(losses.supervised_contrastive(ops.ones((4, 3)), [0, 0, 1, 1])), 4)
    1.0986
    """
    pairs = all_pairs(queries, labels, references, reference_labels, normalize=True)
    logits = ops.matmul(pairs.queries, ops.transpose(pairs.references)) / temperature
    others = ops.logical_or(pairs.positive, pairs.negative)
    # A query that has no others keeps its own product, so that no softmax is empty.
    others = ops.logical_or(others, ops.logical_not(ops.any(others, axis=1, keepdims=True)))
    normaliser = ops.logsumexp(ops.where(others, logits, -float("inf")), axis=1, keepdims=True)
    positive = as_weights(pairs.positive)
    counts = ops.sum(positive, axis=1)
    losses = ops.sum(positive * (normaliser - logits), axis=1) / ops.maximum(counts, 1.0)
    return masked_mean(losses, counts > 0)
