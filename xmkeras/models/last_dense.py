"""The dense layer that ends an encoder: what it sees, and how it starts at a linear map of that."""

from __future__ import annotations

import dataclasses
import re

import keras
import numpy as np

from xmkeras.errors import UserError
from xmkeras.layers import MapAttention
from xmkeras.models.encoder import Encoder, Part

_DENSE = ("joint_projection", "embedding", "region_projection", "word_projection")
_NORM = "joint_norm"
# Layers of random weights between the features and the dense layer, and the flag that leaves them out.
_RANDOM = {r"bidirectional": "--lstm_units=0", r"hidden_\d+": "--{side}_hidden=none"}


def before_last_dense(side: str, encoder: Encoder) -> Encoder:
    """The part of an encoder that ends where its last dense layer begins, on the same variables: (B, f), the mean of
    the vectors where an item has many.

    Raises:
        UserError: there is no such layer, other layers of random weights come before it, or something bends what it
            makes.
    """
    dense = _last_dense(side, encoder)
    last = encoder.parts[-1]
    # Not `dense.input`, which of an encoder that was cut in two belongs to the whole.
    nodes = [node for level in last.model._nodes_by_depth.values() for node in level]
    (features,) = next(node.input_tensors for node in nodes if node.operation is dense)
    model = keras.Model(last.model.input, _mean(features, last), name=f"{last.model.name}_features")
    for layer in model.layers:
        for pattern, flag in _RANDOM.items():
            if re.fullmatch(pattern, layer.name):
                raise UserError(
                    f"--head_init starts a dense layer over plain features, and the {side}s have the layer "
                    f"{layer.name} of random weights before it; give {flag.format(side=side)}."
                )
    return Encoder((*encoder.parts[:-1], dataclasses.replace(last, model=model, gives=("",))), {})


def level_attention(encoder: Encoder) -> None:
    """Makes an encoder's attention to maps begin as their plain means, from which it learns."""
    for layer in encoder.parts[-1].model.layers:
        if isinstance(layer, MapAttention):
            layer.make_uniform()


def start_last_dense(
    side: str, encoder: Encoder, mean: np.ndarray, matrix: np.ndarray, variances: np.ndarray
) -> None:
    """Gives the last dense layer, and the batch norm behind it, the weights with which the encoder makes
    (x - mean) @ matrix of features x in inference; in training the batch norm takes the statistics of the batch.

    Args:
        side: "image" or "text".
        encoder: whose layer is started.
        mean: (f,).
        matrix: (f, d).
        variances: (d,), of what the map makes of the training split.
    """
    dense, shift = _last_dense(side, encoder), -mean @ matrix
    dense.kernel.assign(matrix.astype(np.float32))
    if dense.use_bias:
        dense.bias.assign(shift.astype(np.float32))
        return
    norm = encoder.parts[-1].model.get_layer(_NORM)
    norm.moving_mean.assign(-shift.astype(np.float32))
    norm.moving_variance.assign(variances.astype(np.float32))
    norm.gamma.assign(np.sqrt(variances + norm.epsilon).astype(np.float32))
    norm.beta.assign(np.zeros(len(shift), np.float32))


def _mean(features: keras.KerasTensor, part: Part) -> keras.KerasTensor:
    """(B, f) of vectors (B, f) or of those (B, n, f) that the mask which the part gives says are there."""
    if len(features.shape) == 2:
        return features
    mask = part.model.outputs[part.gives.index("mask")] if "mask" in part.gives else None
    return keras.layers.GlobalAveragePooling1D(dtype="float32", name="mean_vector")(features, mask=mask)


def _last_dense(side: str, encoder: Encoder) -> keras.layers.Dense:
    layers = {layer.name: layer for layer in encoder.parts[-1].model.layers}
    dense = next((layers[name] for name in _DENSE if name in layers), None)
    if dense is None:
        raise UserError(f"The encoder of the {side}s does not end in a dense layer that --head_init could start.")
    activation = layers.get("embedding_activation")
    if activation is not None and activation.activation is not keras.activations.linear:
        raise UserError("--head_init starts at a linear map; give --embedding_activation=linear.")
    if "embedding_norm" in layers:
        raise UserError("--head_init weights dimensions, which a batch norm would undo; give --embedding_norm=none.")
    return dense
