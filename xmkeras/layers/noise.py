"""Random regularisers whose random state has a fixed name.

keras.layers.Dropout numbers its seed variable by the order of creation, so that the variable's name depends
on what else a process has built; here it bears the name of its layer.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

Tensor = Any


class _Noise(keras.layers.Layer):
    """Base of the regularisers: a rate in [0, 1) and a random state `<layer name>/seed_generator_state`."""

    def __init__(self, rate: float, *, seed: int = 0, **kwargs: Any):
        super().__init__(**kwargs)
        if not 0 <= rate < 1:
            raise ValueError(f"rate must lie in [0, 1), not {rate}.")
        self.rate = rate
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed, name=self.name)
        self.supports_masking = True
        self.built = True

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "rate": self.rate, "seed": self.seed}


@keras.saving.register_keras_serializable(package="xmkeras")
class Dropout(_Noise):
    """Zeroes a share `rate` of the values in training and scales the rest by 1/(1 - rate).

    Args:
        rate: share in [0, 1).
        time_constant: for sequences (B, L, d): drop the same features at every step (variational dropout).
        seed: of the random state.
    """

    def __init__(self, rate: float, *, time_constant: bool = False, seed: int = 0, **kwargs: Any):
        super().__init__(rate, seed=seed, **kwargs)
        self.time_constant = time_constant

    def call(self, x: Tensor, training: bool = False) -> Tensor:
        if not training or self.rate == 0:
            return x
        noise_shape = (None, 1, None) if self.time_constant else None
        return keras.random.dropout(x, self.rate, noise_shape=noise_shape, seed=self.seed_generator)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "time_constant": self.time_constant}


@keras.saving.register_keras_serializable(package="xmkeras")
class WordDropout(_Noise):
    """Replaces a share `rate` of the words by the unknown word in training, int32 ids (B, L) -> (B, L).

    Ids below `first_word` (padding, unknown, start) are never replaced.

    Args:
        rate: share in [0, 1).
        unknown: id that replaces a word.
        first_word: the smallest id of a word.
        seed: of the random state.
    """

    def __init__(self, rate: float, *, unknown: int = 1, first_word: int = 3, seed: int = 0, **kwargs: Any):
        super().__init__(rate, seed=seed, **kwargs)
        self.unknown = unknown
        self.first_word = first_word

    def call(self, ids: Tensor, training: bool = False) -> Tensor:
        if not training or self.rate == 0:
            return ids
        drop = keras.random.uniform(ops.shape(ids), seed=self.seed_generator, dtype="float32") < self.rate
        drop = ops.logical_and(drop, ids >= self.first_word)
        return ops.where(drop, ops.cast(self.unknown, ids.dtype), ids)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "unknown": self.unknown, "first_word": self.first_word}
