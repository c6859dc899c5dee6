"""Classification losses: softmax, norm-softmax and cross-modal projection classification (CMPC).

Source: Zhang and Lu, ECCV 2018 (paper 003), equations 6 to 10 and Table 6. Weights are stored (d, C), one
class a column; "normalised" weights have unit columns. All functions compute in float32.
"""

from __future__ import annotations

from typing import Any

from keras import ops

from xmkeras.losses.similarity import as_float32, project, unit

Tensor = Any


def softmax_loss(x: Tensor, labels: Tensor, weights: Tensor, bias: Tensor | None = None) -> Tensor:
    """Mean cross-entropy of `x W + b`.

    Args:
        x: (n, d) embeddings.
        labels: (n,) integers in 0..C-1.
        weights: (d, C).
        bias: (C,) or None.

    Returns:
        A float32 scalar.
    """
    logits = ops.matmul(as_float32(x), as_float32(weights))
    if bias is not None:
        logits = logits + as_float32(bias)
    return ops.mean(ops.sparse_categorical_crossentropy(labels, logits, from_logits=True))


def norm_softmax(
    x: Tensor, labels: Tensor, weights: Tensor, bias: Tensor | None = None, scale: float = 1.0
) -> Tensor:
    """Mean cross-entropy of `scale * x W/|W| + b`, every class weight a unit column (paper 003, equation 7).

    Args:
        x: (n, d) embeddings, not normalised.
        labels: (n,) integers in 0..C-1.
        weights: (d, C), of any column lengths.
        bias: (C,) or None.
        scale: the common length of the columns.

    Returns:
        A float32 scalar.
    """
    return softmax_loss(x, labels, scale * unit(weights, axis=0), bias)


def projection_softmax(
    image: Tensor, text: Tensor, labels: Tensor, weights: Tensor, bias: Tensor | None = None
) -> Tensor:
    """Softmax loss of each modality projected on its partner's direction, both with the same free weights.

    The row "softmax + CMP" of Table 6 of paper 003.

    Args:
        image: (n, d) embeddings, row i belonging to text i.
        text: (n, d) embeddings.
        labels: (n,) integers in 0..C-1.
        weights: (d, C).
        bias: (C,) or None.

    Returns:
        A float32 scalar, the sum of both directions.
    """
    image_on_text = softmax_loss(project(image, text), labels, weights, bias)
    return image_on_text + softmax_loss(project(text, image), labels, weights, bias)


def cmpc_terms(
    image: Tensor, text: Tensor, labels: Tensor, weights: Tensor, *, scale: float = 1.0
) -> tuple[Tensor, Tensor]:
    """The two terms of CMPC: images projected on their texts, and texts on their images.

    Both directions share `weights`, and gradients flow into the partner's direction too.

    Args:
        image: (n, d) embeddings, row i belonging to text i.
        text: (n, d) embeddings.
        labels: (n,) integers in 0..C-1.
        weights: (d, C), of any column lengths; their unit columns are used.
        scale: the common length of the columns.

    Returns:
        Two float32 scalars (image on text, text on image).
    """
    image_on_text = norm_softmax(project(image, text), labels, weights, scale=scale)
    return image_on_text, norm_softmax(project(text, image), labels, weights, scale=scale)


def cmpc(image: Tensor, text: Tensor, labels: Tensor, weights: Tensor, *, scale: float = 1.0) -> Tensor:
    """Sum of the two terms of `cmpc_terms`, whose arguments it takes (paper 003, equation 10)."""
    image_on_text, text_on_image = cmpc_terms(image, text, labels, weights, scale=scale)
    return image_on_text + text_on_image
