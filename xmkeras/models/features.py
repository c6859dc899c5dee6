"""Towers of Dense layers over feature vectors."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from xmkeras.errors import UserError
from xmkeras.layers import Dropout
from xmkeras.models.preprocessing import parse_steps, preprocess

Tensor = Any


@dataclasses.dataclass(frozen=True)
class FeatureInputs:
    """What feature towers take.

    Attributes:
        widths: sizes f and t of the image and the text vectors.
        examples: training vectors (n, f) and (n, t) for the statistics of the preprocessing; None where a
            checkpoint brings them.
    """

    widths: tuple[int, int]
    examples: tuple[np.ndarray, np.ndarray] | None = None

    def to_json(self) -> str:
        """The widths, to be kept beside the checkpoints."""
        return json.dumps({"image": self.widths[0], "text": self.widths[1]}) + "\n"

    @classmethod
    def from_json(cls, text: str) -> FeatureInputs:
        """The inverse of `to_json`, without examples."""
        widths = json.loads(text)
        return cls((int(widths["image"]), int(widths["text"])))


@dataclasses.dataclass(frozen=True)
class FeatureTowers:
    """Two towers over vectors, preprocessing included; embeddings are not L2-normalised.

    Attributes:
        image_head: float32 (B, f) -> (B, d).
        text_encoder: float32 (B, t) -> (B, d).
        private_dims: how many of the last dimensions tell the modality and nothing else of an item.
    """

    image_head: keras.Model
    text_encoder: keras.Model
    private_dims: int = 0

    @property
    def embedding_dim(self) -> int:
        """Size d of the joint embedding."""
        return int(self.image_head.output_shape[-1])

    @property
    def widths(self) -> tuple[int, int]:
        """Sizes f and t of the image and text vectors."""
        return int(self.image_head.input_shape[-1]), int(self.text_encoder.input_shape[-1])

    @property
    def named_parts(self) -> dict[str, keras.Model]:
        """The parts that own variables, by the first part of the variables' names."""
        return {part.name: part for part in (self.image_head, self.text_encoder)}

    def encode_image_features(self, features: Tensor, training: bool = False) -> Tensor:
        """Embeddings (B, d) of image vectors (B, f)."""
        return self.image_head(features, training=training)

    def encode_text_features(self, features: Tensor, training: bool = False) -> Tensor:
        """Embeddings (B, d) of text vectors (B, t)."""
        return self.text_encoder(features, training=training)


def build_feature_towers(
    inputs: FeatureInputs,
    *,
    embedding_dim: int = 200,
    image_hidden: str = "2048,1024",
    text_hidden: str = "",
    activation: str = "tanh",
    embedding_activation: str = "tanh",
    hidden_norm: str = "none",
    embedding_norm: str = "none",
    unit_embeddings: bool = False,
    image_preprocessing: str = "none",
    text_preprocessing: str = "none",
    feature_dropout: float = 0.0,
    hidden_dropout: float = 0.0,
    norm_momentum: float = 0.99,
    seed: int = 0,
) -> FeatureTowers:
    """Builds both towers; every layer has a fixed name, so that variables are named alike in all processes.

    Args:
        inputs: what comes in.
        embedding_dim: size d of the joint embedding.
        image_hidden, text_hidden: units of the hidden layers, with commas; "" for none. The defaults are the
            DAML paper's (section 4.2).
        activation: after each hidden layer; unstated in the paper, tanh in the code of its sibling ACMR.
        embedding_activation: after the last layer.
        hidden_norm: between a hidden layer and its activation.
        embedding_norm: "batch" takes the embeddings of each modality to mean 0 and variance 1 a dimension.
        unit_embeddings: L2-normalise the embeddings inside the tower.
        image_preprocessing, text_preprocessing: see `xmkeras.models.preprocessing.preprocess`, with commas.
        feature_dropout: share of the preprocessed features dropped in training.
        hidden_dropout: share of each hidden layer's outputs dropped in training.
        norm_momentum: of batch statistics.
        seed: of the dropouts; initial weights follow `keras.utils.set_random_seed`.

    Raises:
        UserError: an option that a tower cannot have.
    """
    towers = []
    sides = (("image", "image_head", image_hidden, image_preprocessing), ("text", "text_encoder", text_hidden,
             text_preprocessing))  # fmt: skip
    for place, (side, name, hidden, steps) in enumerate(sides):
        features = keras.Input((inputs.widths[place],), name=f"{side}_features")
        seen = None if inputs.examples is None else inputs.examples[place]
        x = preprocess(features, parse_steps(steps, f"{side}_preprocessing"), seen)
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
        towers.append(keras.Model(features, x, name=name))
    return FeatureTowers(*towers)


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
