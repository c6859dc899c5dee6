"""Towers that embed class probabilities, so that the cosine of two items is how likely they are of one class."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from xmkeras.models.encoder import Encoder, Towers

Tensor = Any


@keras.saving.register_keras_serializable(package="xmkeras")
class PosteriorEmbedding(keras.layers.Layer):
    """Class logits (B, C) to unit vectors (B, C + 2): probabilities p, and what they lack to length 1 beside them.

    Given the label posteriors p of an image and q of a text, p . q is the probability that both are of one class,
    by which retrieval of the class is ranked best; the cosine of p and q divides it by both lengths and so puts
    undecided items of the gallery before decided ones. Each modality holds sqrt(1 - |p|^2) in a place of its own,
    where the other is 0: the cosine, and the Euclidean order, of these vectors is p . q across the modalities.

    Args:
        place: 0 or 1, the modality.
    """

    def __init__(self, place: int, **options: Any):
        super().__init__(**options)
        if place not in (0, 1):
            raise ValueError(f"place is 0 or 1, not {place}.")
        self.place = place

    def call(self, logits: Tensor) -> Tensor:
        probabilities = ops.softmax(logits, axis=-1)
        lacking = 1.0 - ops.sum(ops.square(probabilities), axis=-1, keepdims=True)
        rest = ops.sqrt(ops.maximum(lacking, 0.0))
        sides = [rest, ops.zeros_like(rest)] if self.place == 0 else [ops.zeros_like(rest), rest]
        return ops.concatenate([probabilities, *sides], axis=-1)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return (*input_shape[:-1], int(input_shape[-1] or 0) + 2)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "place": self.place}


def posterior_towers(towers: Towers, label_head: keras.layers.Layer) -> Towers:
    """The towers with a label head after them: the same weights, embeddings (B, C + 2) of unit length.

    Args:
        towers: of two sides, give embeddings (B, d).
        label_head: a built layer, (B, d) -> logits (B, C), shared by both sides.
    """

    def lifted(place: int, encoder: Encoder) -> Encoder:
        lift = PosteriorEmbedding(place, name="posterior", dtype="float32")
        return encoder.then(lambda embedding: lift(label_head(embedding)))

    sides = {side: lifted(place, encoder) for place, (side, encoder) in enumerate(towers.sides.items())}
    return Towers(sides, private_dims=2)
