"""N-pair loss: softmax over the inner products of an anchor with every positive of the batch.

Source: Sohn, NIPS 2016; soft targets for repeated labels as in TensorFlow Addons' npairs_loss. Equation 6 of
paper 002 prints a minus sign too many.
"""

from __future__ import annotations

from typing import Any

from keras import ops

from xmkeras.losses.pairs import as_weights, diagonal_mask, equal_labels
from xmkeras.losses.similarity import as_float32

Tensor = Any


def _soft_cross_entropy(scores: Tensor, match: Tensor) -> Tensor:
    """Mean over the rows with a match of the cross-entropy to targets spread evenly over the matches."""
    count = ops.sum(match, axis=1)
    # Row by row the mean of the matches' log-probabilities; rows without one have the weight 0.
    rows = ops.sum(match * ops.log_softmax(scores, axis=1), axis=1) / ops.maximum(count, 1.0)
    return -ops.sum(rows) / ops.maximum(ops.sum(as_weights(count > 0)), 1.0)


def n_pair(
    anchors: Tensor,
    positives: Tensor,
    labels: Tensor | None = None,
    *,
    positive_labels: Tensor | None = None,
    bidirectional: bool = False,
    l2: float = 0.0,
) -> Tensor:
    """Mean over anchors of log(1 + sum_{j != i} exp(a_i . p_j - a_i . p_i)), on raw inner products.

    Anchors without a match are left out of the mean; without any match, and for a batch of one, the value is
    that of the l2 term alone.

    Args:
        anchors: (n, d), not normalised.
        positives: (m, d); the positive of anchor i is row i, further rows are negatives only.
        labels: (n,) integers. If given, every positive of equal label is a target, with equal weights ("soft
            targets"), and rows need not be aligned.
        positive_labels: (m,) integers; `labels` if None.
        bidirectional: add the same loss with the roles exchanged.
        l2: weight of (mean |a|^2 + mean |p|^2)/2; published implementations use 0.02 and 0.0005.

    Returns:
        A float32 scalar, at least 0.

    Example:

    >>> from keras import ops
    >>> from xmkeras import losses
    >>> round(float(losses.n_pair(ops.eye(2), ops.eye(2))), 4)
    0.3133
    """
    anchors, positives = as_float32(anchors), as_float32(positives)
    scores = ops.matmul(anchors, ops.transpose(positives))
    if labels is None:
        match = diagonal_mask(*ops.shape(scores))
    else:
        match = equal_labels(labels, labels if positive_labels is None else positive_labels)
    match = as_weights(match)
    loss = _soft_cross_entropy(scores, match)
    if bidirectional:
        loss = loss + _soft_cross_entropy(ops.transpose(scores), ops.transpose(match))
    if l2:
        lengths = [ops.mean(ops.sum(ops.square(side), axis=1)) for side in (anchors, positives)]
        loss = loss + 0.5 * l2 * (lengths[0] + lengths[1])
    return loss
