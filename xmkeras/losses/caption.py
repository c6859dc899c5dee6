"""Negative log-likelihood of captions, the generation loss of VSRN (Li et al., ICCV 2019)."""

from __future__ import annotations

from typing import Any

from keras import ops

from xmkeras.losses.pairs import as_weights, choose
from xmkeras.losses.similarity import as_float32

Tensor = Any

REDUCTIONS = ("batch", "token")


def caption_nll(logits: Tensor, targets: Tensor, mask: Tensor | None = None, *, reduction: str = "batch") -> Tensor:
    """Sum over the valid tokens of -log softmax(logits)[target], divided by the batch or by the tokens.

    Args:
        logits: (n, t, V), position k predicting target k.
        targets: (n, t) integers in 0..V-1.
        mask: (n, t) true (or 1) at valid tokens; all if None.
        reduction: "batch" divides by n, as released; "token" by the number of valid tokens. Without any valid
            token the value is 0.

    Returns:
        A float32 scalar, at least 0.

    Raises:
        ValueError: an unknown reduction.

    Example, compiled with a model whose padded targets are 0:

    >>> import keras
    >>> from xmkeras import losses
    >>> model = keras.Sequential([keras.Input((5,), dtype="int32"), keras.layers.Embedding(7, 7, "zeros")])
    >>> model.compile("sgd", loss=lambda words, logits: losses.caption_nll(logits, words, words > 0))
    >>> round(model.evaluate(keras.ops.ones((2, 5)), keras.ops.ones((2, 5), "int32"), verbose=0), 2)
    9.73
    """
    choose("reduction", reduction, REDUCTIONS)
    targets = ops.cast(targets, "int32")
    losses = ops.sparse_categorical_crossentropy(targets, as_float32(logits), from_logits=True)
    valid = ops.ones_like(losses) if mask is None else as_weights(ops.convert_to_tensor(mask))
    count = ops.sum(valid) if reduction == "token" else ops.cast(ops.shape(losses)[0], "float32")
    return ops.sum(losses * valid) / ops.maximum(count, 1.0)
