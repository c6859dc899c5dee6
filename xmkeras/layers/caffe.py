"""Pixel scaling of pretrained image networks as layers, so that it travels with the model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

Tensor = Any

IMAGENET_BGR_MEANS = (103.939, 116.779, 123.68)


@keras.saving.register_keras_serializable(package="xmkeras")
class CaffePreprocessing(keras.layers.Layer):
    """RGB pixels (B, H, W, 3) in 0..255 to BGR less the ImageNet means, as ResNet v1 was trained, or less others."""

    def __init__(self, means: Sequence[float] = IMAGENET_BGR_MEANS, **kwargs: Any):
        super().__init__(**kwargs)
        self.means = tuple(means)

    def call(self, images: Tensor) -> Tensor:
        return ops.flip(images, axis=-1) - ops.convert_to_tensor(self.means, self.compute_dtype)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "means": list(self.means)}
