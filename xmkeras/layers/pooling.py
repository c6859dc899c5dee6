"""Pooling of token features over the valid part of padded sequences."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

Tensor = Any


@keras.saving.register_keras_serializable(package="xmkeras")
class PaddingMask(keras.layers.Layer):
    """True at the valid tokens of right-padded ids, int (B, L) -> bool (B, L).

    Args:
        padding: the id of padding.
    """

    def __init__(self, padding: int = 0, **kwargs: Any):
        super().__init__(**kwargs)
        self.padding = padding

    def call(self, ids: Tensor) -> Tensor:
        return ops.not_equal(ids, self.padding)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "padding": self.padding}


class _TimePooling(keras.layers.Layer):
    """Base of the poolings: takes features (B, L, d) and a mask (B, L), ends the mask."""

    def __init__(self, **kwargs: Any):
        super().__init__(**kwargs)
        self.supports_masking = True

    def compute_mask(self, inputs: Tensor, previous_mask: Tensor) -> None:
        return None


@keras.saving.register_keras_serializable(package="xmkeras")
class MaskedMaxPooling(_TimePooling):
    """Maximum over the valid tokens, (B, L, d) with mask (B, L) -> (B, d); 0 where a row has no valid token.

    Args:
        zero_pad_compat: let padding take part as zeros, as the TensorFlow 1 release of paper 003 does; a
            result then depends on whether its batch was padded.
    """

    def __init__(self, *, zero_pad_compat: bool = False, **kwargs: Any):
        super().__init__(**kwargs)
        self.zero_pad_compat = zero_pad_compat

    def call(self, x: Tensor, mask: Tensor) -> Tensor:
        padding = ops.cast(0.0 if self.zero_pad_compat else -float("inf"), x.dtype)
        valid = ops.expand_dims(mask, -1)
        pooled = ops.max(ops.where(valid, x, padding), axis=1)
        return ops.where(ops.any(valid, axis=1), pooled, ops.zeros_like(pooled))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "zero_pad_compat": self.zero_pad_compat}


@keras.saving.register_keras_serializable(package="xmkeras")
class MaskedMeanPooling(_TimePooling):
    """Mean over the valid tokens, (B, L, d) with mask (B, L) -> (B, d); 0 where a row has no valid token."""

    def call(self, x: Tensor, mask: Tensor) -> Tensor:
        valid = ops.cast(ops.expand_dims(mask, -1), "float32")
        total = ops.sum(ops.cast(x, "float32") * valid, axis=1)
        return ops.cast(total / ops.maximum(ops.sum(valid, axis=1), 1.0), x.dtype)


@keras.saving.register_keras_serializable(package="xmkeras")
class LastState(_TimePooling):
    """The vector at the last valid token, (B, L, d) with mask (B, L) -> (B, d); sequences are padded on the right."""

    def call(self, x: Tensor, mask: Tensor) -> Tensor:
        return last_valid(x, mask)


@keras.saving.register_keras_serializable(package="xmkeras")
class LastStatePooling(_TimePooling):
    """The last outputs of both directions of a bidirectional layer, (B, L, 2u) with mask (B, L) -> (B, 2u).

    The first half of the features is taken at the last valid token; the second half, which was read
    backwards, at the first token. Sequences are padded on the right and have at least one valid token.
    """

    def call(self, x: Tensor, mask: Tensor) -> Tensor:
        forward, backward = ops.split(x, 2, axis=-1)
        return ops.concatenate([last_valid(forward, mask), backward[:, 0]], axis=-1)


def last_valid(x: Tensor, mask: Tensor) -> Tensor:
    """The vectors of x (B, L, d) at the last true place of right-padded masks (B, L): (B, d)."""
    last = ops.sum(ops.cast(mask, "int32"), axis=1) - 1
    return ops.squeeze(ops.take_along_axis(x, ops.reshape(last, (-1, 1, 1)), axis=1), axis=1)
