"""Losses on the scores of a batch where a score is dear: the hinge on hardest negatives in two passes, and a softmax.

Sources: Faghri et al., BMVC 2018 (VSE++), whose hinge SCAN, BFAN and VSRN take; the softmax over a batch is that of
Sohn, NIPS 2016, both ways.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from keras import ops

from xmkeras.losses.pairs import diagonal_mask, equal_labels
from xmkeras.losses.similarity import as_float32

Tensor = Any
PairScores = Callable[[Tensor, Tensor], Tensor]


def hardest_negatives(scores: Tensor, image_ids: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Where the hardest negative text of each image and the hardest negative image of each text stand.

    Args:
        scores: (n, n), row i an image whose own text is column i.
        image_ids: (n,) the image behind each pair: texts of the same image are then no negatives of it, and the other
            way round. None: all but the own partner are, as in the releases of SCAN, BFAN and VSRN.

    Returns:
        Two int32 (n,); a row without negatives has its own place. Constants: no gradient flows into the choice.
    """
    scores = ops.stop_gradient(as_float32(scores))
    never = diagonal_mask(*ops.shape(scores))
    if image_ids is not None:
        never = ops.logical_or(never, equal_labels(image_ids, image_ids))
    negative = ops.where(never, -float("inf"), scores)
    own = ops.arange(ops.shape(scores)[0], dtype="int32")

    def hardest(axis: int) -> Tensor:
        return ops.where(ops.all(never, axis=axis), own, ops.cast(ops.argmax(negative, axis=axis), "int32"))

    return hardest(1), hardest(0)


def hinge_of_hardest(score: PairScores, texts: Tensor, images: Tensor, *, margin: float = 0.2) -> Tensor:
    """`ranking_hinge(scores, negatives="max")` of which only the pairs that it uses are scored.

    Where a score is dear, all pairs of a batch are scored without a tape, `hardest_negatives` chooses, and 3 n pairs
    are scored again: loss and gradient are the same.

    Args:
        score: places (p,) of images and of texts in the batch -> their scores (p,).
        texts: (n,) hardest negative text of each image, the own one for none.
        images: (n,) hardest negative image of each text.
        margin: in the unit of the scores.

    Returns:
        The sum over the batch, a float32 scalar, at least 0.

    Example:

    >>> from keras import ops
    >>> from xmkeras import losses
    >>> scores = ops.convert_to_tensor([[0.9, 0.8], [0.1, 0.5]])
    >>> texts, images = losses.hardest_negatives(scores)
    >>> pick = lambda i, j: ops.take(ops.reshape(scores, (-1,)), 2 * i + j)
    >>> round(float(losses.hinge_of_hardest(pick, texts, images)), 4)
    0.6
    """
    own = ops.arange(ops.shape(texts)[0], dtype="int32")
    places = ops.concatenate([own, own, images]), ops.concatenate([own, texts, own])
    positive, of_texts, of_images = ops.split(as_float32(score(*places)), 3)

    def costs(negative: Tensor, chosen: Tensor) -> Tensor:
        return ops.where(ops.equal(chosen, own), 0.0, ops.relu(margin + negative - positive))

    return ops.sum(costs(of_texts, texts)) + ops.sum(costs(of_images, images))


def score_softmax(
    scores: Tensor,
    image_ids: Tensor | None = None,
    text_image_ids: Tensor | None = None,
    *,
    temperature: float | Tensor = 0.05,
) -> Tensor:
    """Cross-entropy of the softmax over each row and over each column of a score matrix, the mean of both ways.

    Where an image has several texts, or stands in several rows, all of them are right, each with an equal share of
    the target.

    Args:
        scores: (n, m) of images with texts.
        image_ids: (n,) the image of each row, each with a text; None: row i belongs to column i alone.
        text_image_ids: (m,) the image that each text is of; `image_ids` if None.
        temperature: that divides the scores.

    Returns:
        A float32 scalar, at least 0.

    Example:

    >>> from keras import ops
    >>> from xmkeras import losses
    >>> round(float(losses.score_softmax(ops.eye(2), temperature=1.0)), 4)
    0.3133
    """
    logits = as_float32(scores) / temperature
    if image_ids is None:
        right = diagonal_mask(*ops.shape(logits))
    else:
        right = equal_labels(image_ids, image_ids if text_image_ids is None else text_image_ids)
    right = ops.cast(right, "float32")

    def one_way(axis: int) -> Tensor:
        targets = right / ops.maximum(ops.sum(right, axis=axis, keepdims=True), 1.0)
        return -ops.mean(ops.sum(targets * ops.log_softmax(logits, axis=axis), axis=axis))

    return 0.5 * (one_way(1) + one_way(0))
