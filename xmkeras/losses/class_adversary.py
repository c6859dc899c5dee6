"""Class adversaries of deep metric learning: Soft-Adv and Adapt-Adv.

Source: paper 002, equations 20 to 25. A classifier on the features learns with them (Soft-Adv), or with or
against them, as its own loss decides (Adapt-Adv). In both the classifier itself always minimises its loss.
"""

from __future__ import annotations

from typing import Any

from keras import ops

from xmkeras.losses.similarity import as_float32
from xmkeras.losses.smoothing import smoothed_softmax

Tensor = Any


def soft_adversary(logits: Tensor, labels: Tensor, *, smoothing: float = 0.15, weight: float = 0.5) -> Tensor:
    """Soft-Adv: `weight` times the cross-entropy with targets smoothed over all classes, added to a metric loss.

    Args:
        logits: (n, C) of the classifier on the features.
        labels: (n,) integers in 0..C-1.
        smoothing: alpha; alpha/C goes to every class.
        weight: lambda; the paper tries 0.1, 0.5 and 1.

    Returns:
        A float32 scalar, at least 0; 0 with a single class.
    """
    return weight * smoothed_softmax(logits, labels, smoothing)


def adaptive_adversary(logits: Tensor, labels: Tensor) -> Tensor:
    """Adapt-Adv: l_c, the plain cross-entropy, of logits behind a `xmkeras.layers.GradientReversal`.

    Added to the metric loss, it lets the classifier minimise l_c while the features receive the gradient of
    -lambda l_c. The reversal's factor lambda is `adaptive_adversary_factor`, set once an epoch.

    Args:
        logits: (n, C) of the classifier on reversed features.
        labels: (n,) integers in 0..C-1.

    Returns:
        A float32 scalar, at least 0; 0 with a single class.

    Example:

    >>> import math
    >>> import keras
    >>> from xmkeras import layers, losses
    >>> reversal = layers.GradientReversal(float(losses.adaptive_adversary_factor(math.log(10))))
    >>> logits = keras.layers.Dense(10)(reversal(keras.ops.ones((4, 3))))
    >>> l_c = losses.adaptive_adversary(logits, [0, 1, 2, 3])
    >>> _ = reversal.factor.assign(losses.adaptive_adversary_factor(l_c))
    """
    return smoothed_softmax(logits, labels, 0.0)


def adaptive_adversary_factor(class_loss: Tensor, *, threshold: float = 1.5, scale: float = 0.5) -> Tensor:
    """lambda = -tanh(l_c - threshold) scale: above 0 the features work against the classifier, below with it.

    Args:
        class_loss: l_c, the mean training loss of the classifier over the last epoch, without smoothing; log C
            before the first.
        threshold: the loss at which the features leave the classifier alone.
        scale: lambda_0, the largest size; the paper tries 0.1, 0.5 and 1.

    Returns:
        A float32 scalar in (-scale, scale).

    Example:

    >>> from xmkeras import losses
    >>> round(float(losses.adaptive_adversary_factor(3.0)), 4)
    -0.4526
    """
    return -scale * ops.tanh(as_float32(class_loss) - threshold)
