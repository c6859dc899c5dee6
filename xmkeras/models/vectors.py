"""Encoders of Dense layers over feature vectors."""

from __future__ import annotations

from collections.abc import Sequence

import keras
import numpy as np

from xmkeras.errors import UserError
from xmkeras.layers import Dropout
from xmkeras.models.encoder import Encoder, Part
from xmkeras.models.vector_preprocessing import parse_steps, preprocess

_NAMES = {"image": "image_head", "text": "text_encoder"}


def vector_encoder(
    side: str,
    width: int,
    examples: np.ndarray | None = None,
    *,
    hidden: str = "",
    preprocessing: str = "none",
    embedding_dim: int = 200,
    activation: str = "tanh",
    embedding_activation: str = "tanh",
    hidden_norm: str = "none",
    embedding_norm: str = "none",
    unit_embeddings: bool = False,
    feature_dropout: float = 0.0,
    hidden_dropout: float = 0.0,
    norm_momentum: float = 0.99,
    seed: int = 0,
) -> Encoder:
    """`<side>_features` (B, f), preprocessing included, to embeddings (B, d).

    Args:
        side: "image" or "text".
        width: size f of the vectors.
        examples: training vectors (n, f) for the statistics of the preprocessing; None where a checkpoint brings them.
        hidden: units of the hidden layers, with commas; "" for none. For images the DAML paper has "2048,1024"
            (section 4.2).
        preprocessing: see `xmkeras.models.vector_preprocessing.preprocess`, with commas.
        embedding_dim: size d of the joint embedding.
        activation: after each hidden layer; unstated in the paper, tanh in the code of its sibling ACMR.
        embedding_activation: after the last layer.
        hidden_norm: between a hidden layer and its activation.
        embedding_norm: "batch" takes the embeddings of each side to mean 0 and variance 1 a dimension.
        unit_embeddings: L2-normalise the embeddings inside the tower.
        feature_dropout: share of the preprocessed features dropped in training.
        hidden_dropout: share of each hidden layer's outputs dropped in training.
        norm_momentum: of batch statistics.
        seed: of the dropouts; initial weights follow `keras.utils.set_random_seed`.

    Raises:
        UserError: an option that a tower cannot have.
    """
    place = tuple(_NAMES).index(side)
    features = keras.Input((width,), name=f"{side}_features")
    x = preprocess(features, parse_steps(preprocessing, f"{side}_preprocessing"), examples)
    x = Dropout(feature_dropout, seed=seed + 2 * place, name="feature_dropout")(x) if feature_dropout else x
    for number, units in enumerate(_units(hidden, f"{side}_hidden"), 1):
        x = keras.layers.Dense(units, name=f"hidden_{number}")(x)
        x = _norm(hidden_norm, number, norm_momentum)(x)
        x = keras.layers.Activation(activation, name=f"activation_{number}")(x)
        if hidden_dropout:
            x = Dropout(hidden_dropout, seed=seed + 100 * number + place, name=f"dropout_{number}")(x)
    x = keras.layers.Dense(embedding_dim, name="embedding")(x)
    x = keras.layers.Activation(embedding_activation, dtype="float32", name="embedding_activation")(x)
    if embedding_norm == "batch":
        centred = {"momentum": norm_momentum, "center": False, "scale": False}
        x = keras.layers.BatchNormalization(**centred, dtype="float32", name="embedding_norm")(x)
    if unit_embeddings:
        x = keras.layers.UnitNormalization(axis=-1, dtype="float32", name="unit")(x)
    return Encoder.chain(Part(keras.Model(features, x, name=_NAMES[side]), (f"{side}_features",)))


def _norm(kind: str, number: int, momentum: float) -> keras.layers.Layer:
    if kind == "batch":
        return keras.layers.BatchNormalization(momentum=momentum, dtype="float32", name=f"norm_{number}")
    if kind == "layer":
        return keras.layers.LayerNormalization(dtype="float32", name=f"norm_{number}")
    return keras.layers.Identity(name=f"norm_{number}")


def _units(text: str, flag: str) -> Sequence[int]:
    parts = [part.strip() for part in text.split(",") if part.strip() not in ("", "none")]
    if not all(part.isdigit() and int(part) > 0 for part in parts):
        raise UserError(f"--{flag}={text} is no list of layer sizes; write them as in --{flag}=2048,1024.")
    return [int(part) for part in parts]
