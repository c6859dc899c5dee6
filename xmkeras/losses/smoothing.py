"""Label smoothing in its three forms: over all classes, over the wrong classes, and random binary targets."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from xmkeras.losses.pairs import choose
from xmkeras.losses.similarity import as_float32

Tensor = Any

FORMS = ("all", "wrong")
FLIP_SCOPES = ("sample", "batch")


def smoothed_targets(labels: Tensor, classes: int, smoothing: float, *, form: str = "all") -> Tensor:
    """Smoothed one-hot targets, (n,) -> (n, classes) float32, rows of sum 1.

    Args:
        labels: (n,) integers in 0..classes-1.
        classes: C; with one class the target is 1.
        smoothing: share s in [0, 1] taken from the label.
        form: "all" spreads s/C over all classes, the label's own included (paper 002, Soft-Adv); "wrong"
            spreads s/(C - 1) over the others (Proxy-NCA).

    Raises:
        ValueError: an unknown form, or smoothing outside [0, 1].

    Example:

    >>> from keras import ops
    >>> from xmkeras import losses
    >>> print(ops.convert_to_numpy(losses.smoothed_targets([1], 3, 0.2, form="wrong")))
    [[0.1 0.8 0.1]]
    """
    if not 0 <= smoothing <= 1:
        raise ValueError(f"smoothing must lie in [0, 1], not {smoothing}.")
    choose("form", form, FORMS)
    one_hot = ops.one_hot(labels, classes, dtype="float32")
    if form == "all":
        return (1.0 - smoothing) * one_hot + smoothing / classes
    if classes == 1:
        return one_hot
    return (1.0 - smoothing) * one_hot + smoothing / (classes - 1) * (1.0 - one_hot)


def smoothed_softmax(logits: Tensor, labels: Tensor, smoothing: float, *, form: str = "all") -> Tensor:
    """Mean cross-entropy of logits (n, C) with `smoothed_targets`, whose arguments it takes; float32 scalar."""
    logits = as_float32(logits)
    targets = smoothed_targets(labels, ops.shape(logits)[1], smoothing, form=form)
    return -ops.mean(ops.sum(targets * ops.log_softmax(logits, axis=1), axis=1))


def random_modality_targets(
    n: int | Tensor,
    *,
    seed: int | keras.random.SeedGenerator,
    visual: tuple[float, float] = (0.8, 1.2),
    textual: tuple[float, float] = (0.0, 0.3),
    flip: float = 0.2,
    flip_scope: str = "sample",
) -> tuple[Tensor, Tensor]:
    """Smoothed and flipped targets of a modality discriminator (paper 004, TIMAM), two float32 tensors (n,).

    Args:
        n: number of pairs.
        seed: an integer for the same draw at every call, or a keras.random.SeedGenerator.
        visual: range of the uniform visual targets; they may exceed 1.
        textual: range of the uniform textual targets.
        flip: probability that a pair's two targets are exchanged.
        flip_scope: "sample" for each pair on its own, "batch" for all at once.

    Returns:
        Visual and textual targets.

    Raises:
        ValueError: an unknown flip scope.
    """
    scope = choose("flip_scope", flip_scope, FLIP_SCOPES)
    draws = keras.random.uniform((3, n), seed=seed, dtype="float32")
    visual_targets = visual[0] + (visual[1] - visual[0]) * draws[0]
    text_targets = textual[0] + (textual[1] - textual[0]) * draws[1]
    flipped = (draws[2] if scope == "sample" else draws[2, :1]) < flip
    return ops.where(flipped, text_targets, visual_targets), ops.where(flipped, visual_targets, text_targets)
