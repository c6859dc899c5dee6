"""Coupled correlation and label discrimination of cross-modal pairs (paper 001, DAML, equations 2 to 5)."""

from __future__ import annotations

from typing import Any

from keras import ops

from xmkeras.losses.pairs import choose, equal_labels, squared_distances
from xmkeras.losses.similarity import as_float32

Tensor = Any

PAIR_TERMS = ("norms", "frobenius", "none")
REDUCTIONS = ("mean", "sum")
ROOT_FLOOR = 1e-12


def generalised_logistic(z: Tensor, sharpness: float = 10.0) -> Tensor:
    """log(1 + exp(sharpness z))/sharpness, a smooth max(0, z), element by element in float32."""
    return ops.softplus(sharpness * as_float32(z)) / sharpness


def coupled_correlation(
    image: Tensor,
    text: Tensor,
    labels: Tensor,
    *,
    text_labels: Tensor | None = None,
    threshold: float = 3.0,
    sharpness: float = 10.0,
    pair_term: str = "norms",
    reduction: str = "mean",
) -> Tensor:
    """DAML's L_cor: sum_ij s(1 - l_ij (threshold - d_ij)) plus how far the pairs themselves lie apart.

    d_ij is the squared distance of image i and text j, l_ij is 1 for equal labels and -1 otherwise, s is
    `generalised_logistic`: distances below threshold - 1 within a class and above threshold + 1 between
    classes cost nearly nothing. Coinciding pairs have a pair term of 1e-6 and the gradient 0.

    Args:
        image: (n, d).
        text: (m, d); with a pair term m = n and text i belongs to image i.
        labels: (n,) integers.
        text_labels: (m,) integers; `labels` if None.
        threshold: xi > 1.
        sharpness: rho > 0; the larger, the closer s is to a hinge.
        pair_term: "norms": sum_i |image_i - text_i|, not squared; "frobenius": the root of the sum of all
            squares, as a sibling release has it; "none".
        reduction: "mean" divides the sum by the number of images, "sum" does not.

    Returns:
        A float32 scalar, at least 0.

    Raises:
        ValueError: an unknown choice, or a threshold or sharpness out of range.

    Example:

    >>> from keras import ops
    >>> from xmkeras import losses
    >>> x = ops.convert_to_tensor([[0.0], [3.0]])
    >>> round(float(losses.coupled_correlation(x, x, [0, 1])), 4)
    0.0
    """
    if threshold <= 1 or sharpness <= 0:
        raise ValueError(f"threshold must exceed 1 and sharpness 0, not {threshold} and {sharpness}.")
    choose("pair_term", pair_term, PAIR_TERMS)
    choose("reduction", reduction, REDUCTIONS)
    image, text = as_float32(image), as_float32(text)
    match = equal_labels(labels, labels if text_labels is None else text_labels)
    signs = ops.where(match, 1.0, -1.0)
    distances = squared_distances(image, text)
    total = ops.sum(generalised_logistic(1.0 - signs * (threshold - distances), sharpness))
    if pair_term != "none":
        squares = ops.sum(ops.square(image - text), axis=1)
        squares = ops.sum(squares) if pair_term == "frobenius" else squares
        total = total + ops.sum(ops.sqrt(squares + ROOT_FLOOR))
    return total / ops.cast(ops.shape(image)[0], "float32") if reduction == "mean" else total


def label_discrimination(image_logits: Tensor, text_logits: Tensor, labels: Tensor) -> Tensor:
    """DAML's L_dis: mean cross-entropy of a label head shared by both modalities, images plus texts.

    Args:
        image_logits: (n, C).
        text_logits: (n, C), row i of the same pair.
        labels: (n,) integers in 0..C-1.

    Returns:
        A float32 scalar, at least 0.
    """
    sides = [
        ops.sparse_categorical_crossentropy(labels, as_float32(logits), from_logits=True)
        for logits in (image_logits, text_logits)
    ]
    return ops.mean(sides[0]) + ops.mean(sides[1])
