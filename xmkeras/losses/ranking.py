"""Bi-directional ranking: the hinge of VSE++, SCAN, BFAN and VSRN on a score matrix, or on embeddings.

Sources: Faghri et al., BMVC 2018 (VSE++); Lee et al., ECCV 2018 (SCAN); Wang et al., TPAMI 2018 (two-branch
networks); the row "Bi-rank" of Table 5 of paper 003.
"""

from __future__ import annotations

from typing import Any

from keras import ops

from xmkeras.losses.pairs import choose, diagonal_mask, equal_labels, squared_distances
from xmkeras.losses.similarity import as_float32, unit

Tensor = Any

NEGATIVES = ("sum", "max", "semi", "topk")
MASKS = ("diagonal", "label", "image")
REDUCTIONS = ("sum", "mean")
SIMILARITIES = ("cosine", "euclidean")


def ranking_hinge(
    scores: Tensor,
    labels: Tensor | None = None,
    *,
    text_labels: Tensor | None = None,
    image_ids: Tensor | None = None,
    text_image_ids: Tensor | None = None,
    margin: float = 0.2,
    negatives: str = "sum",
    mask: str = "diagonal",
    reduction: str = "sum",
    k: int = 10,
    image_weight: float = 1.0,
) -> Tensor:
    """Hinge max(0, margin + s_ij - s_ii) over the negatives j of each row, plus the same over the columns.

    Any score serves: cosines, or what SCAN and BFAN compute. A row without negatives costs 0, so that a batch
    of one, or of one class under `mask="label"`, has the value 0.

    Args:
        scores: (n, m), row i an image whose own text is column i. Further rows or columns (m other than n,
            a memory bank) are negatives only.
        labels: (n,) integers, read by `mask="label"`.
        text_labels: (m,) integers; `labels` if None.
        image_ids: (n,) the image behind each row, read by `mask="image"`.
        text_image_ids: (m,) the image behind each column; `image_ids` if None.
        margin: in the unit of the scores.
        negatives: "sum" of all; "max", the hardest one; "semi", the hardest one below the positive, or the
            easiest one where all lie above it; "topk", the sum of the k hardest.
        mask: what is never a negative: the own partner ("diagonal", as published), every item of equal label
            ("label"), or every item of the same image ("image").
        reduction: "sum" over the batch, or "mean": the sum divided by the number of pairs min(n, m).
        k: for `negatives="topk"`; all negatives where there are fewer.
        image_weight: weight of the rows' part (image to text), 1.5 in two-branch networks.

    Returns:
        A float32 scalar, at least 0.

    Raises:
        ValueError: an unknown choice, or a mask whose labels or ids are missing.

    Example:

    >>> from keras import ops
    >>> from xmkeras import losses
    >>> scores = ops.convert_to_tensor([[0.9, 0.8], [0.1, 0.5]])
    >>> round(float(losses.ranking_hinge(scores, negatives="max")), 4)
    0.6
    """
    choose("negatives", negatives, NEGATIVES)
    choose("reduction", reduction, REDUCTIONS)
    scores = as_float32(scores)
    if choose("mask", mask, MASKS) == "image":
        labels, text_labels = image_ids, text_image_ids
    never = diagonal_mask(*ops.shape(scores))
    if mask != "diagonal":
        if labels is None:
            raise ValueError(f'mask="{mask}" needs {"labels" if mask == "label" else "image_ids"}.')
        never = ops.logical_or(never, equal_labels(labels, labels if text_labels is None else text_labels))
    positives = ops.diagonal(scores)
    rows = _costs(scores, positives, never, margin, negatives, k)
    columns = _costs(ops.transpose(scores), positives, ops.transpose(never), margin, negatives, k)
    total = image_weight * ops.sum(rows) + ops.sum(columns)
    return total / ops.cast(ops.shape(positives)[0], "float32") if reduction == "mean" else total


def _costs(scores: Tensor, positives: Tensor, never: Tensor, margin: float, negatives: str, k: int) -> Tensor:
    """The cost of each of the first p rows of `scores` (n, m), p the number of `positives`, shape (p,)."""
    pairs = ops.shape(positives)[0]
    scores, negative = scores[:pairs], ops.logical_not(never[:pairs])
    positives = ops.expand_dims(positives, 1)
    hinge = ops.where(negative, ops.relu(margin + scores - positives), 0.0)
    if negatives == "sum":
        return ops.sum(hinge, axis=1)
    if negatives == "max":
        return ops.max(hinge, axis=1)
    if negatives == "topk":
        columns = ops.shape(hinge)[1]
        k = min(k, columns) if isinstance(columns, int) else ops.minimum(k, columns)
        return ops.sum(ops.top_k(hinge, k)[0], axis=1)
    below = ops.logical_and(negative, scores < positives)
    hardest_below = ops.max(ops.where(below, hinge, 0.0), axis=1)
    easiest = ops.min(ops.where(negative, hinge, float("inf")), axis=1)
    easiest = ops.where(ops.any(negative, axis=1), easiest, 0.0)
    return ops.where(ops.any(below, axis=1), hardest_below, easiest)


def bi_rank(
    image: Tensor, text: Tensor, labels: Tensor | None = None, *, similarity: str = "cosine", **options: Any
) -> Tensor:
    """Bi-directional ranking loss of embeddings: `ranking_hinge`, which lists the options, of their similarity.

    Args:
        image: (n, d) embeddings, row i belonging to text i.
        text: (m, d) embeddings; rows beyond the images are negatives only, and the other way round.
        labels: (n,) integers, read by `mask="label"`.
        similarity: "cosine", or "euclidean": -sqrt(D + 1e-4) with D the squared distance of the unit vectors.

    Returns:
        A float32 scalar, at least 0; zero vectors have the similarity 0 (cosine) to everything.

    Example, as an additional loss of a layer that sees both embeddings:

    >>> import keras
    >>> from xmkeras import losses
    >>> class BiRank(keras.layers.Layer):
    ...     def call(self, image, text):
    ...         self.add_loss(losses.bi_rank(image, text, negatives="max", reduction="mean"))
    ...         return image, text
    >>> inputs = keras.Input((3,)), keras.Input((5,))
    >>> heads = [keras.layers.Dense(4)(x) for x in inputs]
    >>> model = keras.Model(inputs, BiRank()(*heads))
    >>> model.compile("sgd")
    >>> history = model.fit([keras.ops.ones((6, 3)), keras.ops.ones((6, 5))], verbose=0)
    >>> round(history.history["loss"][0], 4)
    0.4
    """
    if choose("similarity", similarity, SIMILARITIES) == "cosine":
        scores = ops.matmul(unit(image), ops.transpose(unit(text)))
    else:
        scores = -ops.sqrt(squared_distances(unit(image), unit(text)) + 1e-4)
    return ranking_hinge(scores, labels, **options)
