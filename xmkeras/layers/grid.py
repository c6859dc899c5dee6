"""A feature map as a grid of regions."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

Tensor = Any


@keras.saving.register_keras_serializable(package="xmkeras")
class GridRegions(keras.layers.Layer):
    """A map (B, H, W, c) pooled to `size` x `size` means, row by row: (B, size * size, c).

    The window of place i of `size` over n positions is floor(i n / size) up to, not including, ceil((i + 1) n / size):
    windows overlap where n is no multiple, and repeat where n is smaller.

    Args:
        size: regions a side; 0 takes each position for a region.
    """

    def __init__(self, size: int = 0, **options: Any):
        super().__init__(**options)
        self.size = size
        self.built = True

    def call(self, feature_map: Tensor) -> Tensor:
        height, width, channels = feature_map.shape[1:]
        if self.size:
            rows, columns = (ops.cast(pooling_matrix(n, self.size), feature_map.dtype) for n in (height, width))
            feature_map = ops.einsum("bhwc,ih,jw->bijc", feature_map, rows, columns)
        return ops.reshape(feature_map, (-1, self.size**2 or height * width, channels))

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        batch, height, width, channels = input_shape
        return batch, self.size**2 or int(height or 0) * int(width or 0), channels

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "size": self.size}


def pooling_matrix(positions: int, size: int) -> np.ndarray:
    """The weights (size, positions), float32, of each mean over its window."""
    weights = np.zeros((size, positions), np.float32)
    for place in range(size):
        window = slice(place * positions // size, -(-(place + 1) * positions // size))
        weights[place, window] = 1.0
    return weights / weights.sum(axis=1, keepdims=True)
