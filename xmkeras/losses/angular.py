"""Angular loss: bounds the angle at the negative of each triangle of anchor, positive and negative.

Source: Wang et al., ICCV 2017; paper 002 uses 45 degrees and adds twice the loss to N-pair. The form over all
pairs is that of PyTorch Metric Learning.
"""

from __future__ import annotations

import math
from typing import Any

from keras import ops

from xmkeras.losses.n_pair import n_pair
from xmkeras.losses.pairs import choose, diagonal_mask, equal_labels, log_one_plus_sum, masked_mean
from xmkeras.losses.similarity import as_float32, unit

Tensor = Any

NORMALISATIONS = ("all", "pairs", "none")
# Exponentials are scaled up by e^38 on either side and their sums kept above 1e-16: neither they nor their
# gradients leave float32, and sums stay exact over a range of 110 in the exponent.
SCALE, SMALLEST_SUM = 38.0, 1e-16


def _squared_tangent(angle: float) -> float:
    if not 0 < angle < 90:
        raise ValueError(f"angle must lie between 0 and 90 degrees, not {angle}.")
    return math.tan(math.radians(angle)) ** 2


def angular(
    anchors: Tensor,
    positives: Tensor,
    labels: Tensor | None = None,
    *,
    positive_labels: Tensor | None = None,
    angle: float = 45.0,
) -> Tensor:
    """Mean over i of log(1 + sum_j exp(4t (a_i + p_i) . p_j - 2 (1 + t) a_i . p_i)), t = tan^2(angle).

    The negatives of anchor i are the positives j of other anchors, of other classes if labels are given.
    Without negatives (a batch of one, one class) and without anchors the value is 0.

    Args:
        anchors: (n, d), not normalised.
        positives: (m, d), m >= n: the positive of anchor i is row i; further rows are negatives only.
        labels: (n,) integers, one row of each class if None.
        positive_labels: (m,) integers; `labels` if None.
        angle: in degrees, between 0 and 90.

    Returns:
        A float32 scalar, at least 0.

    Raises:
        ValueError: the angle is out of range.

    Example:

    >>> from keras import ops
    >>> from xmkeras import losses
    >>> round(float(losses.angular(ops.eye(3), ops.eye(3))), 3)
    0.036
    """
    t = _squared_tangent(angle)
    anchors, positives = as_float32(anchors), as_float32(positives)
    partners = positives[: ops.shape(anchors)[0]]
    products = ops.sum(anchors * partners, axis=1, keepdims=True)
    exponents = 4.0 * t * ops.matmul(anchors + partners, ops.transpose(positives)) - 2.0 * (1.0 + t) * products
    never = diagonal_mask(*ops.shape(exponents))
    if labels is not None:
        never = ops.logical_or(never, equal_labels(labels, labels if positive_labels is None else positive_labels))
    losses = log_one_plus_sum(exponents, ops.logical_not(never), axis=1)
    return ops.sum(losses) / ops.cast(ops.maximum(ops.shape(losses)[0], 1), "float32")


def n_pair_angular(
    anchors: Tensor,
    positives: Tensor,
    labels: Tensor | None = None,
    *,
    positive_labels: Tensor | None = None,
    angle: float = 45.0,
    weight: float = 2.0,
    l2: float = 0.0,
) -> Tensor:
    """`n_pair` plus `weight` times `angular`: the total that paper 002 calls the angular loss.

    Args: those of `n_pair` and `angular`.

    Returns:
        A float32 scalar, at least 0.
    """
    pairwise = n_pair(anchors, positives, labels, positive_labels=positive_labels, l2=l2)
    triangles = angular(anchors, positives, labels, positive_labels=positive_labels, angle=angle)
    return pairwise + weight * triangles


def angular_all_pairs(
    queries: Tensor,
    labels: Tensor,
    references: Tensor | None = None,
    reference_labels: Tensor | None = None,
    *,
    angle: float = 45.0,
    normalize: str = "all",
) -> Tensor:
    """Mean over all positive pairs (a, p) of log(1 + sum_n exp(4t (a + p) . n - 2 (1 + t) a . p)).

    n runs over all references of another class. Since exp((a + p) . n) is a product of an anchor's and a
    positive's part, the sums over n of all pairs are one matrix product: no triplet tensor. Without positives
    or without negatives the value is 0.

    Args:
        queries: (n, d) the anchors.
        labels: (n,) integers.
        references: (m, d) positives and negatives, the texts of images or a memory bank; None for the queries.
        reference_labels: (m,) integers; `labels` if None.
        angle: in degrees, between 0 and 90.
        normalize: "all" vectors to unit length; "pairs": anchors and positives but not negatives, as PyTorch
            Metric Learning does; "none". Where vectors keep their length, a pair whose largest terms for the
            anchor and for the positive lie more than 110 apart in the exponent gets the larger one of the two
            instead of their sum.

    Returns:
        A float32 scalar, at least 0.

    Raises:
        ValueError: the angle is out of range, or `normalize` is none of the choices.

    Example:

    >>> from keras import ops
    >>> from xmkeras import losses
    >>> x = ops.convert_to_tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    >>> round(float(losses.angular_all_pairs(x, [0, 0, 1])), 4)
    0.0181
    """
    t = _squared_tangent(angle)
    choose("normalize", normalize, NORMALISATIONS)
    alone = references is None
    references = queries if references is None else references
    reference_labels = labels if reference_labels is None else reference_labels
    anchors, positives = (as_float32(x) if normalize == "none" else unit(x) for x in (queries, references))
    negatives = as_float32(references) if normalize == "pairs" else positives
    same = equal_labels(labels, reference_labels)
    products = ops.matmul(anchors, ops.transpose(positives))
    with_negatives = ops.matmul(anchors, ops.transpose(negatives)) if normalize == "pairs" else products
    of_anchors = _Exponents(4.0 * t * with_negatives, ops.logical_not(same))
    of_positives = of_anchors
    if not alone:
        differ = ops.logical_not(equal_labels(reference_labels, reference_labels))
        of_positives = _Exponents(4.0 * t * ops.matmul(positives, ops.transpose(negatives)), differ)
    log_sums = _log_sums(of_anchors, of_positives, bounded=normalize == "all")
    losses = ops.softplus(log_sums - 2.0 * (1.0 + t) * products)
    losses = ops.where(of_anchors.has_negatives, losses, 0.0)
    if alone:
        same = ops.logical_and(same, ops.logical_not(diagonal_mask(*ops.shape(same))))
    return masked_mean(losses, same)


class _Exponents:
    """One side's exponents (n, m), those of negatives, their row maxima (n, 1), and their exponentials."""

    def __init__(self, values: Tensor, negative: Tensor):
        self.values = values
        self.masked = ops.where(negative, values, -float("inf"))
        self.has_negatives = ops.any(negative, axis=1, keepdims=True)
        self.top = ops.where(self.has_negatives, ops.max(self.masked, axis=1, keepdims=True), 0.0)
        self.scaled = ops.exp(self.masked - (ops.stop_gradient(self.top) - SCALE))

    def at_hardest_of(self, other: _Exponents) -> Tensor:
        """The sum of both sides' exponents at the largest one of each row of `other`, (n, m)."""
        hardest = ops.argmax(other.masked, axis=1)
        return ops.take(self.values, hardest, axis=1) + ops.transpose(other.top)


def _log_sums(a: _Exponents, p: _Exponents, bounded: bool) -> Tensor:
    """log sum_n exp(a_in + p_jn) over the negatives n, for rows i of `a` and j of `p` of one class, (n, m)."""
    if a is p:
        # Sums and loss are symmetric in both sides: one side's gradient, doubled, is that of both.
        half = ops.matmul(a.scaled, ops.transpose(ops.stop_gradient(a.scaled)))
        sums = 2.0 * half - ops.stop_gradient(half)
    else:
        sums = ops.matmul(a.scaled, ops.transpose(p.scaled))
    tops = ops.stop_gradient(a.top) + ops.transpose(ops.stop_gradient(p.top)) - 2.0 * SCALE
    log_sums = ops.log(ops.maximum(sums, SMALLEST_SUM)) + tops
    if bounded:
        return log_sums
    largest = ops.maximum(a.at_hardest_of(p), ops.transpose(p.at_hardest_of(a)))
    return ops.where(sums > SMALLEST_SUM, log_sums, largest)
