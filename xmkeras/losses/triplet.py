"""Triplet losses with semi-hard negatives, in the two definitions that are in use.

Sources: Schroff et al., CVPR 2015 (FaceNet); TensorFlow Addons' triplet_semihard_loss (one negative for each
anchor and positive); PyTorch Metric Learning's TripletMarginMiner (all semi-hard triplets), which paper 002
uses with a margin of 0.01. Both are computed by sorting each anchor's distances, without a triplet tensor.
"""

from __future__ import annotations

from typing import Any

from keras import ops

from xmkeras.losses.pairs import Pairs, all_pairs, as_weights, choose, root, squared_distances

Tensor = Any

DISTANCES = ("euclidean", "squared")
# A negative at the positive's distance is not farther, nor is one that rounding has put behind it.
RELATIVE_TIE, ABSOLUTE_TIE = 1e-6, 1e-30


def _distances(pairs: Pairs, distance: str) -> Tensor:
    squared = squared_distances(pairs.queries, pairs.references)
    return root(squared) if choose("distance", distance, DISTANCES) == "euclidean" else squared


def _before_ties(distances: Tensor, first: Tensor) -> Tensor:
    """Sorting keys (n, m) that put `first` before the others where distances are equal."""
    return ops.where(first, distances * (1.0 - RELATIVE_TIE) - ABSOLUTE_TIE, distances)


def triplet_semihard(
    queries: Tensor,
    labels: Tensor,
    references: Tensor | None = None,
    reference_labels: Tensor | None = None,
    *,
    margin: float = 1.0,
    distance: str = "euclidean",
    normalize: bool = False,
) -> Tensor:
    """Mean over all anchors a and positives p of max(0, margin + d_ap - d_an), one negative n for each.

    n is the nearest negative that is farther than p, or the farthest negative where none is (TensorFlow
    Addons). Anchors without positives or without negatives take no part; where none is left (one class, all
    classes different, a batch of one) the value is 0. Time is O(n m log m), memory O(n m).

    Args:
        queries: (n, d) the anchors.
        labels: (n,) integers.
        references: (m, d) positives and negatives, the texts of images or a memory bank; None for the queries.
        reference_labels: (m,) integers; `labels` if None.
        margin: in the unit of the distance.
        distance: "euclidean" or "squared". Coinciding vectors have the distance 0 and the gradient 0.
        normalize: divide every vector by its length; Addons expects unit vectors and does not make them.

    Returns:
        A float32 scalar, at least 0.

    Raises:
        ValueError: an unknown distance, or a side has not as many labels as rows.

    Example, compiled with a model whose targets are the labels:

    >>> import keras
    >>> from xmkeras import losses
    >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(4), keras.layers.UnitNormalization()])
    >>> loss = lambda labels, x: losses.triplet_semihard(x, keras.ops.reshape(labels, (-1,)))
    >>> model.compile("sgd", loss=loss)
    >>> x, labels = keras.random.normal((8, 3), seed=0), keras.ops.arange(8) // 2
    >>> history = model.fit(x, labels, epochs=2, verbose=0)
    >>> len(history.history["loss"])
    2
    """
    pairs = all_pairs(queries, labels, references, reference_labels, normalize)
    distances = _distances(pairs, distance)
    order = ops.argsort(ops.stop_gradient(_before_ties(distances, pairs.negative)), axis=1)
    in_order = ops.take_along_axis(distances, order, axis=1)
    positive = ops.take_along_axis(pairs.positive, order, axis=1)
    negative = ops.take_along_axis(ops.cast(pairs.negative, "int32"), order, axis=1)
    # As many negatives as lie before a positive are not farther than it: the next one in their order is.
    passed = ops.cumsum(negative, axis=1)
    farthest = ops.maximum(passed[:, -1:] - 1, 0)
    negatives_in_order = ops.sort(ops.where(pairs.negative, distances, float("inf")), axis=1)
    chosen = ops.take_along_axis(negatives_in_order, ops.minimum(passed, farthest), axis=1)
    counted = ops.logical_and(positive, passed[:, -1:] > 0)
    hinge = ops.where(counted, ops.relu(margin + in_order - ops.where(counted, chosen, 0.0)), 0.0)
    return ops.sum(hinge) / ops.maximum(ops.sum(as_weights(counted)), 1.0)


def triplet_semihard_all(
    queries: Tensor,
    labels: Tensor,
    references: Tensor | None = None,
    reference_labels: Tensor | None = None,
    *,
    margin: float = 0.2,
    distance: str = "euclidean",
    normalize: bool = True,
) -> Tensor:
    """Mean of margin + d_ap - d_an over all triplets with 0 < d_an - d_ap < margin.

    This is the mean over the non-zero losses of PyTorch Metric Learning's semi-hard triplets. Without such a
    triplet (one class, no positives, a batch of one, equal vectors) the value is 0. Time is O(n m log m) and
    memory O(n m), although there are up to n m^2 triplets.

    Args: those of `triplet_semihard`; here vectors are normalised unless told otherwise.

    Returns:
        A float32 scalar in [0, margin).

    Raises:
        ValueError: a margin that is not positive, an unknown distance, or a side has not as many labels as rows.

    Example:

    >>> from keras import ops
    >>> from xmkeras import losses
    >>> x = ops.convert_to_tensor([[0.0], [1.0], [1.1], [1.5]])
    >>> round(float(losses.triplet_semihard_all(x, [0, 0, 1, 1], normalize=False)), 4)
    0.1
    """
    if margin <= 0:
        raise ValueError(f"margin must be positive, not {margin}.")
    pairs = all_pairs(queries, labels, references, reference_labels, normalize)
    distances = _distances(pairs, distance)
    counts = _semihard_counts(ops.stop_gradient(distances), pairs.positive, pairs.negative, margin)
    # Positives of an anchor occur as often as its negatives, so that a shift of its distances changes
    # nothing; around 0 they lose less to rounding.
    shift = ops.sum(ops.where(pairs.positive, distances, 0.0), axis=1, keepdims=True)
    shift = shift / ops.maximum(ops.sum(as_weights(pairs.positive), axis=1, keepdims=True), 1.0)
    total = ops.sum(counts * (distances - ops.stop_gradient(shift)))
    triplets = ops.sum(ops.relu(counts))
    return (margin * triplets + total) / ops.maximum(triplets, 1.0)


def _semihard_counts(distances: Tensor, positive: Tensor, negative: Tensor, margin: float) -> Tensor:
    """How many semi-hard triplets each pair is part of: of positives as plus, of negatives as minus, (n, m)."""
    near = _before(_before_ties(distances, negative), positive, negative)
    # The lower bound keeps a margin smaller than the rounding from putting `far` before `near`.
    beyond = ops.maximum((distances + margin) * (1.0 - RELATIVE_TIE), distances * (1.0 + 3 * RELATIVE_TIE))
    far = _before(ops.where(positive, beyond, distances), positive, negative)
    # Negatives between a positive and its margin; positives before a negative but not by the margin.
    return ops.where(positive, far - near, ops.where(negative, far - near, 0.0))


def _before(keys: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
    """Of every positive the number of negatives, of every negative the number of positives, before it."""
    n, m = ops.shape(keys)
    order = ops.argsort(keys, axis=1)
    sorted_positive = as_weights(ops.take_along_axis(positive, order, axis=1))
    sorted_negative = as_weights(ops.take_along_axis(negative, order, axis=1))
    before = sorted_positive * ops.cumsum(sorted_negative, axis=1)
    before = before + sorted_negative * ops.cumsum(sorted_positive, axis=1)
    places = ops.cast(order, "int32") + ops.expand_dims(ops.arange(n, dtype="int32") * m, 1)
    return ops.reshape(ops.segment_sum(ops.reshape(before, (-1,)), ops.reshape(places, (-1,)), n * m), (n, m))
