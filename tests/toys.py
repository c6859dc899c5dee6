"""Toy methods for what no published method needs yet: images alone, and a score of pairs that is no cosine."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import sys
import types
from collections.abc import Iterator
from typing import Any, ClassVar

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from xmkeras import methods
from xmkeras.config import Config
from xmkeras.layers import EpochMean
from xmkeras.method import Batch, Clock, Losses, Method, Outputs, Similarity, Tensor
from xmkeras.models.encoder import Encoder, Part, Towers
from xmkeras.run import sides

WORDS = 9


@dataclasses.dataclass(frozen=True)
class NoParams:
    """No options."""


class ImagesOnly(Method):
    """Images of one label are drawn together and all others apart: softmax over the scaled products of the batch.

    The head `mean` knows the loss of the last epoch.
    """

    Params = NoParams
    sides: ClassVar[tuple[str, ...]] = ("image",)

    def __init__(self, towers: Towers, params: NoParams, num_labels: int):
        super().__init__(towers, params, num_labels)
        self.add_head("mean", EpochMean(name="mean"))

    def start_step(self, clock: Clock) -> None:
        if clock.begins_epoch:
            self.heads["mean"].roll()

    def losses(self, outputs: Outputs, batch: Batch) -> Losses:
        image, labels = outputs["image"] / self.towers.embedding_dim**0.25, batch["label"]
        itself = ops.eye(ops.shape(labels)[0])
        alike = ops.cast(labels[:, None] == labels[None], "float32") * (1 - itself)
        log_shares = ops.log_softmax(ops.matmul(image, ops.transpose(image)) - 1e9 * itself, axis=1)
        loss = -ops.sum(alike * log_shares) / ops.maximum(ops.sum(alike), 1.0)
        return {"contrastive": self.heads["mean"](loss)}


class PairScore(Method):
    """How well an image fits a sentence: the mean over its words of the best region's cosine; hinge loss.

    Words pass through a matrix of the score's own.
    """

    Params = NoParams

    def __init__(self, towers: Towers, params: NoParams, num_labels: int):
        super().__init__(towers, params, num_labels)
        dim = towers.embedding_dim
        self.add_head("turn", keras.layers.Dense(dim, use_bias=False, dtype="float32", name="turn"), None, None, dim)

    @property
    def similarity(self) -> Similarity:
        return "pairs"

    def score(self, outputs: Outputs) -> Tensor:
        regions = ops.normalize(outputs["image"], axis=-1)
        words = ops.normalize(outputs["text"] + self.heads["turn"](outputs["text"]), axis=-1)
        best = ops.max(ops.einsum("ird,twd->itwr", regions, words), axis=-1)
        there = ops.cast(outputs["text/mask"], "float32")
        return ops.sum(best * there, axis=-1) / ops.maximum(ops.sum(there, axis=-1), 1.0)

    def losses(self, outputs: Outputs, batch: Batch) -> Losses:
        scores, labels = self.score(outputs), batch["label"]
        apart = ops.cast(labels[:, None] != labels[None], "float32")
        right = ops.diagonal(scores)
        hinge = lambda own: ops.mean(apart * ops.relu(0.2 + scores - own))  # noqa: E731
        return {"hinge_i2t": hinge(right[:, None]), "hinge_t2i": hinge(right[None])}


class Mask(keras.layers.Layer):
    """Which ids (B, L) are words: bool (B, L)."""

    def call(self, ids: Tensor) -> Tensor:
        return ops.not_equal(ids, 0)


def region_encoder(regions: int = 3, width: int = 6, dim: int = 5) -> Encoder:
    """`image_regions` (B, regions, width) to embeddings (B, regions, dim)."""
    inputs = keras.Input((regions, width), name="image_regions")
    outputs = keras.layers.Dense(dim, name="out")(inputs)
    return Encoder.chain(Part(keras.Model(inputs, outputs, name="image_head"), ("image_regions",)))


def words_encoder(vocabulary_size: int = WORDS, dim: int = 5) -> Encoder:
    """`text` (B, L), padded with 0, to embeddings (B, L, dim) and which of them are there."""
    ids = keras.Input((None,), dtype="int32", name="ids")
    vectors = keras.layers.Embedding(vocabulary_size, dim, embeddings_initializer="glorot_uniform", name="words")(ids)
    model = keras.Model(ids, [vectors, Mask(name="mask")(ids)], name="text_encoder")
    return Encoder.chain(Part(model, ("text",), ("", "mask")))


def pair_score(seed: int = 0) -> PairScore:
    keras.utils.set_random_seed(seed)
    return PairScore(Towers({"image": region_encoder(), "text": words_encoder()}), NoParams(), 4)


def pair_batch(seed: int, size: int = 4, length: int = 4) -> dict[str, tf.Tensor]:
    """`size` images of three regions with sentences of 1 to `length` words, each of its own label."""
    generator = np.random.default_rng(seed)
    there = np.arange(length) < generator.integers(1, length + 1, size)[:, None]
    numbers = np.arange(size, dtype=np.int64)
    batch = {
        "image_regions": generator.normal(size=(size, 3, 6)).astype(np.float32),
        "text": (generator.integers(1, WORDS, (size, length)) * there).astype(np.int32),
        "label": numbers,
        "image_id": numbers,
        "row": numbers,
    }
    return {name: tf.constant(value) for name, value in batch.items()}


class ManyVectors(keras.layers.Layer):
    """A vector (B, f) as `parts` vectors (B, parts, f / parts)."""

    def __init__(self, parts: int, **options: Any):
        super().__init__(**options)
        self.parts = parts

    def call(self, x: Tensor) -> Tensor:
        return ops.reshape(x, (-1, self.parts, x.shape[-1] // self.parts))


def _regions(config: Config, side: str, kept: sides.Kept, rows: Any) -> sides.Side:
    """Image vectors that are read as four regions each."""

    def build() -> Encoder:
        inputs = keras.Input((24,), name="image_features")
        outputs = keras.layers.Dense(config.model.embedding_dim, name="out")(ManyVectors(4, name="parts")(inputs))
        return Encoder.chain(Part(keras.Model(inputs, outputs, name="image_head"), ("image_features",)))

    return dataclasses.replace(_KINDS["image vectors"](config, side, kept, rows), encoder=build)


def _sequences(config: Config, side: str, kept: sides.Kept, rows: Any) -> sides.Side:
    """Sentences that leave as a vector a word."""
    words = _KINDS["words"](config, side, kept, rows)
    build = functools.partial(words_encoder, 3 + len(words.kept["words"]), config.model.embedding_dim)
    return dataclasses.replace(words, encoder=build)


_KINDS = dict(sides.KINDS)


@contextlib.contextmanager
def toys_installed(*, many_vectors: bool = False) -> Iterator[None]:
    """While entered, `--method=toy_images_only` and `toy_pair_score` exist; with `many_vectors` the encoders of image
    vectors and of words give many vectors an item."""
    known = methods.names()
    toys = {"toy_images_only": ImagesOnly, "toy_pair_score": PairScore}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(methods, "names", lambda: [*known, *toys])
        for name, method in toys.items():
            module = types.ModuleType(f"xmkeras.methods.{name}")
            module.METHOD = method
            patch.setitem(sys.modules, module.__name__, module)
        if many_vectors:
            patch.setitem(sides.KINDS, "image vectors", _regions)
            patch.setitem(sides.KINDS, "words", _sequences)
        yield
