"""Cross-modal projection matching (CMPM): KL divergence between projection softmax and matching labels.

Source: Zhang and Lu, "Deep Cross-Modal Projection Learning for Image-Text Matching", ECCV 2018 (paper 003),
equations 1 to 5; the reversed divergence is the ablation of its Table 5.
"""

from __future__ import annotations

from typing import Any

from keras import ops

from xmkeras.losses.pairs import as_weights, equal_labels
from xmkeras.losses.similarity import projection_scores

Tensor = Any

DIVERGENCES = ("pq", "qp")


def _row_divergences(scores: Tensor, match: Tensor, epsilon: float, divergence: str) -> Tensor:
    """The divergence of each row of `scores` (n, m) from its normalised matches (n, m), shape (n,)."""
    log_p = ops.log_softmax(scores, axis=-1)
    # The mask is divided by its sum, not by its L2 norm: q has to be a distribution when labels repeat.
    q = match / ops.maximum(ops.sum(match, axis=-1, keepdims=True), 1.0)
    if divergence == "pq":
        return ops.sum(ops.exp(log_p) * (log_p - ops.log(q + epsilon)), axis=-1)
    log_q = ops.log(ops.where(q > 0, q, 1.0))
    return ops.sum(q * (log_q - log_p), axis=-1)


def _mean_over_matched(rows: Tensor, match: Tensor) -> Tensor:
    """Mean of `rows` (n,) over the rows that match anything; 0 when none does."""
    matched = ops.max(match, axis=-1)
    return ops.sum(rows * matched) / ops.maximum(ops.sum(matched), 1.0)


def cmpm_terms(
    image: Tensor,
    text: Tensor,
    labels: Tensor,
    *,
    text_labels: Tensor | None = None,
    epsilon: float = 1e-8,
    divergence: str = "pq",
) -> tuple[Tensor, Tensor]:
    """The image-to-text and text-to-image terms of CMPM.

    With a_ij = x_i . z_j/|z_j|, p_i = softmax_j(a_ij) and q_ij = y_ij / sum_k y_ik, a term is the mean over i
    of sum_j p_ij log(p_ij / (q_ij + epsilon)). It is computed from log-softmax, so that it stays finite where
    p underflows, and in float32 whatever comes in. A row without any match is left out of the mean.

    Args:
        image: (n, d) embeddings, not normalised.
        text: (m, d) embeddings, not normalised.
        labels: (n,) integers; an image and a text match when their labels are equal.
        text_labels: (m,) integers; `labels` where the texts are the images' own, in the same order.
        epsilon: added to q; an unmatched cell costs about p log(1/epsilon), the main learning signal.
        divergence: "pq" for KL(p||q), "qp" for KL(q||p), which uses no epsilon.

    Returns:
        Two float32 scalars (image to text, text to image).

    Raises:
        ValueError: `divergence` is not one of `DIVERGENCES`, or a side has not as many labels as rows.
    """
    if divergence not in DIVERGENCES:
        raise ValueError(f"divergence must be one of {', '.join(DIVERGENCES)}, not {divergence!r}.")
    text_labels = labels if text_labels is None else text_labels
    match = as_weights(equal_labels(labels, text_labels))
    for name, rows, count in zip(("image", "text"), (image.shape[0], text.shape[0]), match.shape, strict=True):
        if rows is not None and count is not None and rows != count:
            raise ValueError(f"The {name}s are {rows} and their labels {count}; give each row its label.")
    transposed = ops.transpose(match)
    image_to_text = _row_divergences(projection_scores(image, text), match, epsilon, divergence)
    text_to_image = _row_divergences(projection_scores(text, image), transposed, epsilon, divergence)
    return _mean_over_matched(image_to_text, match), _mean_over_matched(text_to_image, transposed)


def cmpm(image: Tensor, text: Tensor, labels: Tensor, **options: Any) -> Tensor:
    """Sum of the two terms of `cmpm_terms`, which lists the options (paper 003, equation 5).

    Args:
        image: (n, d) embeddings, not normalised.
        text: (m, d) embeddings, not normalised.
        labels: (n,) integers.

    Returns:
        A float32 scalar.
    """
    image_to_text, text_to_image = cmpm_terms(image, text, labels, **options)
    return image_to_text + text_to_image
