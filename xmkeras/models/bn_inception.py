"""BN-Inception (Ioffe and Szegedy 2015), "Inception v2", as Caffe's weights and their PyTorch port have it.

The network of paper 002. Its ImageNet weights are published as `bn_inception-239d2248.pth`, in the layout of Cadene's
pretrained-models.pytorch.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from typing import NamedTuple

import keras

from xmkeras.models.torch_weights import load_torch

NAME = "bn_inception"
# Of BGR pixels in 0..255, as they are subtracted there.
BGR_MEANS = (104.0, 117.0, 128.0)
# Those that paper 002 attends to: 608, 1056 and 1024 channels.
MAPS = ("inception_4d_output", "inception_4e_output", "inception_5b_output")
EPSILON = 1e-5
_CLASSIFIERS = ("last_linear", "fc")


class Module(NamedTuple):
    """Branches side by side: 1x1, 3x3, two of 3x3, and pooling; a plain one, or one of stride 2 that reduces the grid.

    Attributes:
        single: channels of the 1x1 branch; 0 where the grid is reduced, which has none.
        triple: channels of the 1x1 and of the 3x3 convolution.
        double: of the 1x1 and of both 3x3.
        projection: of the 1x1 behind the pooling; 0 where the grid is reduced: pooled as it is.
        pool: "average" or "max".
    """

    name: str
    single: int
    triple: tuple[int, int]
    double: tuple[int, int]
    projection: int
    pool: str = "average"

    @property
    def stride(self) -> int:
        return 1 if self.single else 2


MODULES = (
    Module("3a", 64, (64, 64), (64, 96), 32),
    Module("3b", 64, (64, 96), (64, 96), 64),
    Module("3c", 0, (128, 160), (64, 96), 0, "max"),
    Module("4a", 224, (64, 96), (96, 128), 128),
    Module("4b", 192, (96, 128), (96, 128), 128),
    Module("4c", 160, (128, 160), (128, 160), 128),
    Module("4d", 96, (128, 192), (160, 192), 128),
    Module("4e", 0, (128, 192), (192, 256), 0, "max"),
    Module("5a", 352, (192, 320), (160, 224), 128),
    Module("5b", 352, (192, 320), (192, 224), 128, "max"),
)


def bn_inception(input_shape: tuple[int, int, int]) -> keras.Model:
    """The network without classifier and with random weights, BGR less `BGR_MEANS` (B, h, w, 3) -> (B, h', w', 1024).

    Its convolutions are called as in the published file, `inception_3a_1x1`, each with a norm `..._bn` and a ReLU
    `..._relu` behind it, and the maps `inception_3a_output` to `inception_5b_output`; h' is 7 of 224 pixels.

    Args:
        input_shape: height and width in pixels, and 3.
    """
    pixels = keras.Input(input_shape, name="pixels")
    x = _convolution(pixels, "conv1_7x7_s2", 64, 7, 2)
    x = _reduced(x, "pool1_3x3_s2", _rounded_up)
    x = _convolution(x, "conv2_3x3_reduce", 64, 1)
    x = _convolution(x, "conv2_3x3", 192, 3)
    x = _reduced(x, "pool2_3x3_s2", _rounded_up)
    for module in MODULES:
        x = _module(x, module)
    return keras.Model(pixels, x, name=NAME)


def load_weights(network: keras.Model, path: str | os.PathLike[str]) -> None:
    """Sets the weights of a network of this file to those of a PyTorch file.

    Raises:
        UserError: it cannot be read, or is of another network.
    """
    kinds = (keras.layers.Conv2D, keras.layers.BatchNormalization)
    names = [layer.name for layer in network.layers if isinstance(layer, kinds)]
    load_torch(network, path, dict(zip(names, names, strict=True)), without=_CLASSIFIERS)


def _module(x: keras.KerasTensor, module: Module) -> keras.KerasTensor:
    name, stride = f"inception_{module.name}", module.stride
    branches = [_convolution(x, f"{name}_1x1", module.single, 1)] if module.single else []
    y = _convolution(x, f"{name}_3x3_reduce", module.triple[0], 1)
    branches.append(_convolution(y, f"{name}_3x3", module.triple[1], 3, stride))
    y = _convolution(x, f"{name}_double_3x3_reduce", module.double[0], 1)
    y = _convolution(y, f"{name}_double_3x3_1", module.double[1], 3)
    branches.append(_convolution(y, f"{name}_double_3x3_2", module.double[1], 3, stride))
    if stride == 2:
        branches.append(_reduced(x, f"{name}_pool", _half))
    else:
        pooled = _pooled(x, f"{name}_pool", module.pool)
        branches.append(_convolution(pooled, f"{name}_pool_proj", module.projection, 1))
    return keras.layers.Concatenate(name=f"{name}_output")(branches)


def _convolution(x: keras.KerasTensor, name: str, channels: int, kernel: int, stride: int = 1) -> keras.KerasTensor:
    """Convolution with a bias, batch norm, ReLU; padded alike on all sides, which "same" does not at a stride of 2."""
    if stride > 1:
        x = keras.layers.ZeroPadding2D(kernel // 2, name=f"{name}_pad")(x)
    padding = "same" if stride == 1 else "valid"
    initializer = keras.initializers.HeNormal()
    x = keras.layers.Conv2D(
        channels, kernel, strides=stride, padding=padding, kernel_initializer=initializer, name=name
    )(x)
    x = keras.layers.BatchNormalization(epsilon=EPSILON, name=f"{name}_bn")(x)
    return keras.layers.ReLU(name=f"{name}_relu")(x)


def _pooled(x: keras.KerasTensor, name: str, pool: str) -> keras.KerasTensor:
    """3x3 at a stride of 1; the mean counts the zeros of the padding too."""
    if pool == "max":
        return keras.layers.MaxPooling2D(3, 1, "same", name=name)(x)
    return keras.layers.AveragePooling2D(3, 1, name=name)(keras.layers.ZeroPadding2D(1, name=f"{name}_pad")(x))


def _rounded_up(size: int) -> int:
    """Caffe's number of 3x3 windows at a stride of 2, of which the last one may reach beyond."""
    return math.ceil((size - 3) / 2) + 1


def _half(size: int) -> int:
    """That of a convolution beside the pooling; of even sizes, as of 224 pixels, the same."""
    return math.ceil(size / 2)


def _reduced(x: keras.KerasTensor, name: str, windows: Callable[[int], int]) -> keras.KerasTensor:
    """3x3 maxima at a stride of 2, the last of them over what is there."""
    beyond = [max(0, 2 * windows(size) + 1 - size) for size in x.shape[1:3]]
    if any(beyond):
        # Zeros are no less than what a ReLU makes.
        x = keras.layers.ZeroPadding2D(tuple((0, more) for more in beyond), name=f"{name}_pad")(x)
    return keras.layers.MaxPooling2D(3, 2, name=name)(x)
