"""Towers that see images through one convolution: for tests of what does not depend on the depth of a network."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import keras
import pytest

from xmkeras.models.batch_norm import with_fused_batch_norm


def plain_backbone(name: str, *, image_size: tuple[int, int], width: float, weights: str) -> keras.Model:
    """In place of `xmkeras.models.image.image_backbone`: with one convolution, which is quicker to trace."""
    image = keras.Input((*image_size, 3), name="image")
    x = keras.layers.Rescaling(1 / 127.5, offset=-1.0, dtype="float32", name="preprocessing")(image)
    inner = keras.Input(x.shape[1:])
    y = keras.layers.Conv2D(32, 5, strides=4, use_bias=False, name="conv")(inner)
    y = keras.layers.ReLU(name="relu")(keras.layers.BatchNormalization(name="norm")(y))
    network = with_fused_batch_norm(keras.Model(inner, y, name="plain"))
    pooled = keras.layers.GlobalAveragePooling2D(name="average_pool")(network(x))
    return keras.Model(image, pooled, name="image_backbone")


@contextlib.contextmanager
def plain_images() -> Iterator[None]:
    """While entered, towers built in this process have that backbone, whatever --image_tower says."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("xmkeras.models.towers.image_backbone", plain_backbone)
        yield
