"""Modality adversaries: a discriminator tells images from texts, the encoders make it fail.

Sources: paper 001 (DAML), equation 1, a head of two classes; paper 004 (TIMAM), a head of one logit; the
schedule of the reversal's factor is that of Ganin and Lempitsky, ICML 2015 (DANN).
"""

from __future__ import annotations

from typing import Any

from keras import ops

from xmkeras.losses.pairs import choose
from xmkeras.losses.similarity import as_float32

Tensor = Any

GENERATORS = ("swap", "minimax")


def dann_factor(progress: float | Tensor, *, steepness: float = 10.0) -> Tensor:
    """2/(1 + exp(-steepness p)) - 1 at the share p in [0, 1] of the training: from 0 towards 1, float32 scalar.

    Example:

    >>> from xmkeras import losses
    >>> round(float(losses.dann_factor(0.1)), 4)
    0.4621
    """
    return ops.tanh(0.5 * steepness * as_float32(progress))


def modality_two_way(image_logits: Tensor, text_logits: Tensor) -> Tensor:
    """DAML's L_adv: mean cross-entropy of a two-class head, images being class 1 and texts class 0.

    The head minimises it; encoders receive it through a `xmkeras.layers.GradientReversal`.

    Args:
        image_logits: (n, 2).
        text_logits: (m, 2).

    Returns:
        A float32 scalar, at least 0: the sum of the mean over images and the mean over texts.

    Example:

    >>> from keras import ops
    >>> from xmkeras import losses
    >>> round(float(losses.modality_two_way(ops.zeros((4, 2)), ops.zeros((4, 2)))), 4)
    1.3863
    """
    of_images = ops.log_softmax(as_float32(image_logits), axis=-1)[:, 1]
    of_texts = ops.log_softmax(as_float32(text_logits), axis=-1)[:, 0]
    return -ops.mean(of_images) - ops.mean(of_texts)


def _binary(logits: Tensor, targets: Tensor | float) -> Tensor:
    """Mean of -t log s(z) - (1 - t) log(1 - s(z)) from logits; targets may exceed 1 and are not clipped."""
    logits = ops.reshape(as_float32(logits), (-1,))
    targets = ops.reshape(as_float32(targets), (-1,))
    return ops.mean(ops.relu(logits) - logits * targets + ops.log1p(ops.exp(-ops.abs(logits))))


def modality_discriminator(
    image_logits: Tensor,
    text_logits: Tensor,
    *,
    image_targets: Tensor | float = 1.0,
    text_targets: Tensor | float = 0.0,
) -> Tensor:
    """TIMAM's L_D: binary cross-entropy of a one-logit head, on images plus on texts.

    Minimised by the discriminator alone, on embeddings behind a stop-gradient.

    Args:
        image_logits: (n,) or (n, 1).
        text_logits: (m,) or (m, 1).
        image_targets: 1, or (n,) smoothed and flipped ones: `random_modality_targets`. They may exceed 1.
        text_targets: 0, or (m,).

    Returns:
        A float32 scalar; at least 0 while targets lie in [0, 1].

    Example:

    >>> from keras import ops
    >>> from xmkeras import losses
    >>> visual, textual = losses.random_modality_targets(4, seed=0)
    >>> z = ops.zeros((4, 1))
    >>> round(float(losses.modality_discriminator(z, z, image_targets=visual, text_targets=textual)), 4)
    1.3863
    """
    return _binary(image_logits, image_targets) + _binary(text_logits, text_targets)


def modality_generator(image_logits: Tensor, text_logits: Tensor, *, form: str = "swap") -> Tensor:
    """TIMAM's loss of the encoders against a frozen discriminator, with hard targets.

    Args:
        image_logits: (n,) or (n, 1).
        text_logits: (m,) or (m, 1).
        form: "swap": L_D with the two targets exchanged, which does not saturate; "minimax": -L_D.

    Returns:
        A float32 scalar; at least 0 for "swap", at most 0 for "minimax".

    Raises:
        ValueError: an unknown form.
    """
    if choose("form", form, GENERATORS) == "minimax":
        return -modality_discriminator(image_logits, text_logits)
    return modality_discriminator(image_logits, text_logits, image_targets=0.0, text_targets=1.0)
