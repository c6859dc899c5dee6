"""Pooling of a set of vectors by learned weights of the ranks of each feature (VSE-infinity)."""

from __future__ import annotations

import math
from typing import Any

import keras
from keras import ops

from xmkeras.layers.recurrent import PortableGRU

Tensor = Any

_ABSENT = -1e4
_TEMPERATURE = 0.1
_LONGEST_WAVE = 10000.0


@keras.saving.register_keras_serializable(package="xmkeras")
class GeneralizedPooling(keras.layers.Layer):
    """The generalized pooling operator of Chen et al., "Learning the Best Pooling Strategy", CVPR 2021.

    Each feature is sorted over the vectors that are there, the greatest first, and the sorted values are summed with
    weights of their ranks: (B, n, d), with a mask (B, n) on request, -> (B, d). The weights come of sines and cosines
    of the rank through a bidirectional GRU and a dense layer, in a softmax over as many ranks as there are vectors, so
    that they hold for any number: equal ones are the mean, all on the first the maximum. A row without vectors gives 0.

    Args:
        units: of the GRU.
        width: sines and cosines of a rank.
    """

    def __init__(self, units: int = 32, width: int = 32, **options: Any):
        super().__init__(**{"dtype": "float32", **options})
        self.units = units
        self.width = width
        self.supports_masking = True
        gru = PortableGRU(units, return_sequences=True, dtype=self.dtype_policy, name="gru")
        self.ranks = keras.layers.Bidirectional(gru, merge_mode="ave", dtype=self.dtype_policy, name="ranks")
        self.score = keras.layers.Dense(1, use_bias=False, dtype=self.dtype_policy, name="score")

    def build(self, input_shape: Any) -> None:
        self.ranks.build((None, None, self.width))
        self.score.build((None, None, self.units))
        self.built = True

    def call(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        x = ops.cast(x, "float32")
        there = ops.ones_like(x[..., 0], dtype="bool") if mask is None else ops.cast(mask, "bool")
        # Vectors may be absent anywhere, and their ranks come last.
        counted = ops.arange(ops.shape(x)[1]) < ops.sum(ops.cast(there, "int32"), axis=1, keepdims=True)
        ordered = ops.flip(ops.sort(ops.where(there[..., None], x, _ABSENT), axis=1), axis=1)
        weights = self.weights_of(counted)[..., None]
        return ops.sum(ops.where(counted[..., None], weights * ordered, 0.0), axis=1)

    def weights_of(self, counted: Tensor) -> Tensor:
        """The weights (B, n) of ranks that are there, bool (B, n), true before false."""
        waves = ops.exp(-math.log(_LONGEST_WAVE) / self.width * ops.arange(0, self.width, 2, dtype="float32"))
        phases = ops.arange(ops.shape(counted)[1], dtype="float32")[:, None] * waves
        both = ops.reshape(ops.stack([ops.sin(phases), ops.cos(phases)], axis=-1), (-1, self.width))
        encoded = ops.zeros_like(ops.cast(counted, "float32"))[..., None] + both
        scores = self.score(self.ranks(encoded, mask=counted))[..., 0] / _TEMPERATURE
        return ops.softmax(ops.where(counted, scores, _ABSENT), axis=1)

    def compute_mask(self, inputs: Tensor, previous_mask: Tensor) -> None:
        return None

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return input_shape[0], input_shape[-1]

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "units": self.units, "width": self.width}
