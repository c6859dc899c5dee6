"""Small towers of every kind of side, exported with what they must agree with."""

from __future__ import annotations

import dataclasses
import functools
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from tests.data.feature_pairs import vectors
from tests.serving.conftest import CAPTIONS, tokenizer
from xmkeras.layers import PaddingMask
from xmkeras.models.encoder import Encoder, Part, Towers
from xmkeras.models.posteriors import posterior_towers
from xmkeras.models.towers import word_encoder
from xmkeras.models.vectors import vector_encoder
from xmkeras.retrieval.embeddings import EmbeddingSet
from xmkeras.retrieval.sequences import Sequences
from xmkeras.serving.client import SearchModel
from xmkeras.serving.inputs import Arrays, Input, Sentences
from xmkeras.serving.saved_model import export_saved_model

COUNT, DIM = 12, 5
IMAGES, TEXTS = (side.astype("f4") for side in vectors(np.arange(COUNT) % 3))
REGIONS = np.random.default_rng(1).normal(size=(COUNT, 4, 3)).astype("f4")
SENTENCES = [f"{CAPTIONS[number % 5]} {CAPTIONS[number % 3]}" for number in range(COUNT)]


def sequences(parts: Sequence[np.ndarray]) -> Sequences:
    """Items of (n_i, d) vectors."""
    return Sequences(np.concatenate(parts), np.cumsum([0, *map(len, parts)]))


@dataclasses.dataclass(frozen=True)
class Toy:
    """Towers with rows for each side, and their embeddings: arrays (n, d), or lists of (n_i, d)."""

    towers: Towers
    inputs: dict[str, Input]
    rows: dict[str, Any]
    similarity: str = "cosine"
    score: Callable[[dict[str, Any]], Any] | None = None

    @functools.cached_property
    def embeddings(self) -> dict[str, Any]:
        """Those of all rows of a side, by side, a row at a time."""
        return {side: [self._embedded(side, row) for row in self.rows[side]] for side in self.inputs}

    def _embedded(self, side: str, row: Any) -> np.ndarray:
        given = self.towers.sides[side](self.inputs[side].entries(tf.constant([row]))[0])
        return given[""][0].numpy()[given["mask"][0].numpy()] if "mask" in given else given[""][0].numpy()

    def gallery(self, side: str) -> EmbeddingSet:
        """All rows of a side, called by their side and number."""
        items = self.embeddings[side]
        ids = np.array([f"{side}{number}" for number in range(COUNT)])
        return EmbeddingSet(ids, np.arange(COUNT), sequences(items) if self.similarity == "pairs" else np.stack(items))

    def scores(self, asked: str, gallery: str) -> np.ndarray:
        """The score (n, n) of every row of one side with every row of the other, pair by pair."""
        of = {"cosine": cosine, "euclidean": distance, "pairs": best_product}[self.similarity]
        return np.array([[of(one, two) for two in self.embeddings[gallery]] for one in self.embeddings[asked]])

    def export(self, directory: pathlib.Path, *sides: str, **options: Any) -> SearchModel:
        """The model with the galleries of `sides`."""
        galleries = {side: self.gallery(side) for side in sides}
        given = {"similarity": self.similarity, "score": self.score, "galleries": galleries, "gallery_split": "test"}
        export_saved_model(self.towers, directory, inputs=self.inputs, **{**given, **options})
        return SearchModel(directory, batch_size=5)


def cosine(one: np.ndarray, two: np.ndarray) -> float:
    return float(one @ two / np.linalg.norm(one) / np.linalg.norm(two))


def distance(one: np.ndarray, two: np.ndarray) -> float:
    return -float(np.linalg.norm(one - two))


def best_product(one: np.ndarray, two: np.ndarray) -> float:
    return max(float(a @ b) for a in one for b in two)


def pair_score(outputs: dict[str, Any]) -> Any:
    """The largest inner product of a region with a word, (n, R, d) and (m, L, d) with masks -> (n, m)."""
    image = outputs["image"]
    text, mask = (outputs.get(f"text{end}", outputs.get(f"image{end}")) for end in ("", "/mask"))
    products = ops.einsum("nrd,mld->nmrl", image, text)
    there = outputs["image/mask"][:, None, :, None] & mask[None, :, None, :]
    return ops.max(ops.where(there, products, -1e9), axis=(2, 3))


def vector_toy(similarity: str) -> Toy:
    options = {"embedding_dim": DIM, "hidden_norm": "batch", "hidden_dropout": 0.5}
    image = vector_encoder("image", 8, IMAGES, hidden="7", preprocessing="sqrt,standardize,l2", **options)
    text = vector_encoder("text", 6, TEXTS, preprocessing="tfidf,l2", **options)
    inputs = {"image": Arrays("image", (8,)), "text": Arrays("text", (6,))}
    return Toy(Towers({"image": image, "text": text}), inputs, {"image": IMAGES, "text": TEXTS}, similarity)


def posterior_toy() -> Toy:
    """Vectors with a label head behind both encoders."""
    toy = vector_toy("cosine")
    head = keras.layers.Dense(3, name="label", dtype="float32")
    head.build((None, DIM))
    return dataclasses.replace(toy, towers=posterior_towers(toy.towers, head))


def words_toy() -> Toy:
    """Vectors for pictures, and words."""
    image = vector_encoder("image", 8, embedding_dim=DIM, hidden="7")
    words = word_encoder(tokenizer().vocabulary_size, embedding_dim=DIM, word_dim=4, lstm_units=3)
    inputs = {"image": Arrays("image", (8,)), "text": Sentences(tokenizer())}
    return Toy(Towers({"image": image, "text": words}), inputs, {"image": IMAGES, "text": SENTENCES})


def image_toy() -> Toy:
    """Images alone."""
    image = vector_encoder("image", 8, embedding_dim=DIM, hidden="7")
    return Toy(Towers({"image": image}), {"image": Arrays("image", (8,))}, {"image": IMAGES})


def pairs_toy(*sides: str) -> Toy:
    """Regions, of which the last is there where it begins with a positive number, and the words of a sentence."""
    regions = keras.Input((4, 3), name="image_features")
    mask = ops.concatenate([ops.ones_like(regions[:, :3, 0]) > 0, regions[:, 3:, 0] > 0], axis=1)
    image = keras.Model(regions, [keras.layers.Dense(DIM, name="region")(regions), mask], name="image_head")
    ids = keras.Input((None,), dtype="int32", name="ids")
    words = keras.layers.Embedding(tokenizer().vocabulary_size, DIM, embeddings_initializer="normal", name="words")(ids)
    text = keras.Model(ids, [words, PaddingMask(name="mask")(ids)], name="text_encoder")
    encoders = {
        "image": Encoder.chain(Part(image, ("image_features",), ("", "mask"))),
        "text": Encoder.chain(Part(text, ("text",), ("", "mask"))),
    }
    inputs = {"image": Arrays("image", (4, 3)), "text": Sentences(tokenizer())}
    rows = {"image": REGIONS, "text": SENTENCES}
    kept = {side: encoders[side] for side in sides}
    return Toy(Towers(kept), {side: inputs[side] for side in sides}, rows, "pairs", pair_score)
