"""A class-weight layer whose classes are unit vectors."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

Tensor = Any


@keras.saving.register_keras_serializable(package="xmkeras")
class UnitColumnDense(keras.layers.Layer):
    """Logits `scale * x W/|W|` with W (d, units) divided by its columns' lengths; no bias.

    The norm-softmax layer of Zhang and Lu, ECCV 2018 (paper 003, equation 7).
    `kernel` keeps the free weights.

    Args:
        units: number of classes C.
        scale: the common length of the columns.

    Input (..., d), output (..., units).
    """

    def __init__(self, units: int, *, scale: float = 1.0, **kwargs: Any):
        super().__init__(**kwargs)
        self.units = units
        self.scale = scale

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        self.kernel = self.add_weight(shape=(input_shape[-1], self.units), initializer="glorot_uniform", name="kernel")
        self.built = True

    def call(self, x: Tensor) -> Tensor:
        kernel = ops.cast(self.kernel, "float32")
        squared_norm = ops.sum(ops.square(kernel), axis=0, keepdims=True)
        unit_columns = kernel * ops.rsqrt(ops.maximum(squared_norm, 1e-12))
        return ops.cast(self.scale * ops.matmul(ops.cast(x, "float32"), unit_columns), self.compute_dtype)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return (*input_shape[:-1], self.units)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "units": self.units, "scale": self.scale}
