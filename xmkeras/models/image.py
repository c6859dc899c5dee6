"""Image backbones of keras.applications with their preprocessing inside."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import keras

from xmkeras.errors import UserError
from xmkeras.layers import CaffePreprocessing
from xmkeras.models.batch_norm import with_fused_batch_norm

BACKBONES = ("mobilenet", "resnet50", "resnet101", "resnet152")
SMALLEST_SIDE = 32
MOBILENET_IMAGENET_WIDTHS = (0.25, 0.5, 0.75, 1.0)


def image_backbone(
    name: str, *, image_size: tuple[int, int], width: float = 1.0, weights: str = "none"
) -> keras.Model:
    """A convolutional network with global average pooling, its preprocessing inside.

    Args:
        name: one of `BACKBONES`: MobileNet v1, or ResNet v1 of 50, 101 or 152 layers.
        image_size: height and width in pixels, 32 or more.
        width: multiplier of MobileNet's channels, greater than 0; 1 for ResNets.
        weights: "none" (random), "imagenet" (downloaded by Keras), or the path of a weight file without the
            classifier, as `keras.applications` writes them.

    Returns:
        A model "image_backbone", float32 RGB (B, h, w, 3) in 0..255 -> (B, f).

    Raises:
        UserError: unknown name, a size or width the network cannot have, or weights that cannot be loaded.
    """
    _check(name, image_size, width)
    network = _network(name, (*image_size, 3), width, weights)
    inputs = keras.Input((*image_size, 3), name="image")
    features = network(_preprocessing(name)(inputs))
    pooled = keras.layers.GlobalAveragePooling2D(name="average_pool")(features)
    return keras.Model(inputs, pooled, name="image_backbone")


def batch_norms(model: keras.Model) -> Iterator[keras.layers.BatchNormalization]:
    """The batch norm layers of a model and of the models inside it."""
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from batch_norms(layer)
        elif isinstance(layer, keras.layers.BatchNormalization):
            yield layer


def set_synchronized(model: keras.Model, synchronized: bool) -> None:
    """Makes every batch norm of `model` take its statistics over all replicas, or over each one alone.

    To be called before the model is traced.
    """
    for layer in batch_norms(model):
        layer.synchronized = synchronized


def set_norm_momentum(model: keras.Model, momentum: float) -> None:
    """Sets the share of the old average that a training step keeps in every batch norm's statistics, 0 to 1.

    Keras builds its networks with 0.99: after a hundred steps their averages still hold a third of the initial
    statistics, and over the layers of a deep network that makes inference useless. To be called before tracing.
    """
    for layer in batch_norms(model):
        layer.momentum = momentum


def _check(name: str, image_size: tuple[int, int], width: float) -> None:
    if name not in BACKBONES:
        raise UserError(f"The image tower {name!r} is not known; choose one of {', '.join(BACKBONES)}.")
    if min(image_size) < SMALLEST_SIDE:
        raise UserError(
            f"Images of {image_size[0]}x{image_size[1]} pixels are too small for {name}; "
            f"each side needs {SMALLEST_SIDE} or more."
        )
    if name != "mobilenet" and width != 1:
        raise UserError(
            f"The image tower {name} has no width {width:g}; only mobilenet can be made wider or narrower."
        )
    if int(32 * width) < 1:
        raise UserError(
            f"An image width of {width:g} leaves mobilenet without channels; choose 0.05 or more."
        )


def _preprocessing(name: str) -> keras.layers.Layer:
    # In float32 under every policy: half precision would round the pixels before they are centred.
    if name == "mobilenet":
        return keras.layers.Rescaling(1 / 127.5, offset=-1.0, dtype="float32", name="preprocessing")
    return CaffePreprocessing(dtype="float32", name="preprocessing")


def _builder(
    name: str, input_shape: tuple[int, int, int], width: float
) -> Callable[[str | None], keras.Model]:
    common: dict[str, Any] = {"include_top": False, "input_shape": input_shape, "pooling": None, "name": name}
    if name == "mobilenet":
        return lambda weights: keras.applications.MobileNet(alpha=width, weights=weights, **common)
    networks = {
        "resnet50": keras.applications.ResNet50,
        "resnet101": keras.applications.ResNet101,
        "resnet152": keras.applications.ResNet152,
    }
    return lambda weights: networks[name](weights=weights, **common)


def _network(name: str, input_shape: tuple[int, int, int], width: float, weights: str) -> keras.Model:
    build = _builder(name, input_shape, width)
    network = _with_imagenet(build, name, width) if weights == "imagenet" else build(None)
    if weights not in ("none", "imagenet"):
        _load(network, weights, f"{name} of width {width:g}")
    return with_fused_batch_norm(network)


def _with_imagenet(build: Callable[[str | None], keras.Model], name: str, width: float) -> keras.Model:
    if name == "mobilenet" and width not in MOBILENET_IMAGENET_WIDTHS:
        widths = ", ".join(f"{w:g}" for w in MOBILENET_IMAGENET_WIDTHS)
        raise UserError(
            f"There are ImageNet weights of mobilenet for the widths {widths} only, not {width:g}."
        )
    try:
        return build("imagenet")
    except Exception as error:  # Keras raises a bare Exception where a download fails.
        raise UserError(
            f"The ImageNet weights of {name} could not be downloaded ({_first_line(error)}); "
            "give the path of a weight file: --image_weights=PATH."
        ) from error


def _load(network: keras.Model, path: str, description: str) -> None:
    if not os.path.isfile(path):
        raise UserError(f"There is no image weight file {path}; give none, imagenet or a file.")
    try:
        with warnings.catch_warnings():
            # Keras 3.15 warns of containers that files of earlier versions lack, though all weights load.
            warnings.filterwarnings("ignore", message="Skipping nested container")
            network.load_weights(path)
    except Exception as error:  # The readers of the file formats raise errors of many kinds.
        raise UserError(
            f"The image weights in {path} do not fit {description} without classifier: {_first_line(error)}."
        ) from error


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".")[:200] if lines else type(error).__name__
