"""Gives the layers of a network the weights of a PyTorch file, whatever the file calls them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

import keras
import numpy as np

from xmkeras.errors import UserError
from xmkeras.models.torch_files import read_torch

_NORM = ("weight", "bias", "running_mean", "running_var")
# From (out, in, h, w), and of a depthwise convolution (channels, 1, h, w).
_AXES, _DEPTHWISE_AXES = (2, 3, 1, 0), (2, 3, 0, 1)


def load_torch(
    network: keras.Model, path: str | os.PathLike[str], places: Mapping[str, str], without: Sequence[str] = ()
) -> None:
    """Sets the weights of a network's convolutions and batch norms to those of a PyTorch file.

    Args:
        network: whose layers are set; nothing is, where the file does not fit.
        path: of what `torch.save(model.state_dict(), path)` wrote.
        places: what the file calls each layer -> the layer's name.
        without: what the file may hold beyond these, such as a classifier.

    Raises:
        UserError: the file cannot be read, or is of another network.
    """
    tensors = {name: value for name, value in read_torch(path).items() if not name.endswith("num_batches_tracked")}
    layers = {place: network.get_layer(layer) for place, layer in places.items()}
    weights = {place: _weights(tensors, place, layer) for place, layer in layers.items()}
    for place, layer in layers.items():
        if [array.shape for array in weights[place]] != [tuple(weight.shape) for weight in layer.weights]:
            raise UserError(f"The image weights in {path} do not fit {network.name}: {place} is missing or another.")
    known = tuple(f"{place}." for place in (*places, *without))
    if left := [name for name in tensors if not name.startswith(known)]:
        raise UserError(f"The image weights in {path} do not fit {network.name}, which has no {left[0]}.")
    for place, layer in layers.items():
        layer.set_weights(weights[place])


def _weights(tensors: Mapping[str, np.ndarray], place: str, layer: keras.layers.Layer) -> list[np.ndarray]:
    """What a file holds for a layer, in the order and with the axes of Keras."""
    if isinstance(layer, keras.layers.BatchNormalization):
        found = [tensors.get(f"{place}.{name}") for name in _NORM]
        # Early versions of PyTorch saved vectors of norms as (1, c).
        return [array.reshape(-1) for array in found if array is not None]
    kernel, bias = tensors.get(f"{place}.weight"), tensors.get(f"{place}.bias")
    if kernel is None or kernel.ndim != 4:
        return []
    axes = _DEPTHWISE_AXES if isinstance(layer, keras.layers.DepthwiseConv2D) else _AXES
    return [kernel.transpose(axes), *([] if bias is None else [bias])]
