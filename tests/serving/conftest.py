"""One small exported model for all tests of serving, with the towers it came from."""

from __future__ import annotations

import dataclasses
import io
import pathlib
from collections.abc import Sequence

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tests.models.plain import plain_images
from xmkeras.data import images
from xmkeras.data.text import Tokenizer, Vocabulary
from xmkeras.models.encoder import Towers
from xmkeras.models.towers import picture_encoder, word_encoder
from xmkeras.retrieval.embeddings import EmbeddingSet
from xmkeras.serving.client import SearchModel
from xmkeras.serving.inputs import ImageBytes, Input, Sentences
from xmkeras.serving.saved_model import export_saved_model

SIZE = (32, 32)
DIM = 16
CAPTIONS = [
    "a red heart",
    "a blue heart on a white ground",
    "two dogs",
    "a dog and a red ball",
    "ünïcode wörds",
]
MAX_PIXELS = 10_000


@dataclasses.dataclass(frozen=True)
class Exported:
    """A run directory that holds a SavedModel, and what it must agree with."""

    directory: pathlib.Path
    towers: Towers
    gallery: EmbeddingSet

    @property
    def version(self) -> pathlib.Path:
        return self.directory / "saved_model" / "1"

    def image_vectors(self, encoded: list[bytes]) -> np.ndarray:
        """Unit embeddings of images as the towers give them in evaluation, in one batch.

        How a batch rounds depends on its size: a comparison to 1e-5 needs as many rows as the model was given.
        """
        batch = tf.stack([images.load(tf.constant(one), SIZE) for one in encoded])
        return _unit(np.asarray(self.towers.encode("image", {"image": batch})["image"]))

    def text_vectors(self, texts: list[str]) -> np.ndarray:
        """Unit embeddings of sentences as the towers give them in evaluation, one row at a time."""
        rows = [self.towers.encode("text", {"text": tokenizer()(tf.constant([one]))})["text"] for one in texts]
        return _unit(np.concatenate(rows))


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def picture(seed: int, kind: str = "PNG", size: tuple[int, int] = (40, 50)) -> bytes:
    """An encoded picture of coloured blocks."""
    blocks = np.random.default_rng(seed).integers(0, 256, (5, 5, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(blocks).resize(size[::-1], Image.Resampling.BICUBIC).save(file, kind)
    return file.getvalue()


def tokenizer() -> Tokenizer:
    return Tokenizer(Vocabulary.build(CAPTIONS, min_count=1))


def inputs(image_size: tuple[int, int] = SIZE, words: Tokenizer | None = None) -> dict[str, Input]:
    return {"image": ImageBytes(image_size, MAX_PIXELS), "text": Sentences(words or tokenizer())}


def small_towers(dim: int = DIM, seed: int = 0) -> Towers:
    """Towers whose batch norm knows a batch: untrained ones collapse to a point in inference mode."""
    keras.utils.set_random_seed(seed)
    with plain_images():
        pictures = picture_encoder(SIZE, embedding_dim=dim)
    words = word_encoder(tokenizer().vocabulary_size, embedding_dim=dim, word_dim=12, lstm_units=10)
    towers = Towers({"image": pictures, "text": words})
    norms = [layer for part in towers.named_parts.values() for layer in part._flatten_layers()]
    momentum = {layer: layer.momentum for layer in norms if isinstance(layer, keras.layers.BatchNormalization)}
    for layer in momentum:
        layer.momentum = 0.0
    seen = np.stack([images.load(tf.constant(picture(i)), SIZE) for i in range(16)])
    towers.encode("image", {"image": seen}, training=True)
    towers.encode("text", {"text": tokenizer()(tf.constant(CAPTIONS))}, training=True)
    for layer, before in momentum.items():
        layer.momentum = before
    return towers


def brute_force(scores: np.ndarray, ids: Sequence[str], k: int) -> tuple[list[list[str]], np.ndarray]:
    """The k best of scores (n, g) in order, and their scores, by sorting them all."""
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return [[str(ids[place]) for place in row] for row in order], np.take_along_axis(scores, order, axis=1)


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    directory = tmp_path_factory.mktemp("run")
    towers = small_towers()
    vectors = 3.0 * np.random.default_rng(0).normal(size=(7, DIM)).astype(np.float32)
    gallery = EmbeddingSet(np.array([f"bild-{i}ö" for i in range(7)]), np.arange(7), vectors)
    export_saved_model(
        towers,
        directory,
        inputs=inputs(),
        galleries={"image": gallery},
        gallery_split="test",
        gallery_files={**{str(name): f"{name}.png" for name in gallery.ids[:3]}, "unknown": "x.png"},
        top_k=4,
        credit="Drawn by a test",
    )
    return Exported(directory, towers, gallery)


@pytest.fixture(scope="session")
def bare(exported: Exported, tmp_path_factory: pytest.TempPathFactory) -> SearchModel:
    """The same model without a gallery."""
    directory = tmp_path_factory.mktemp("bare")
    export_saved_model(exported.towers, directory, inputs=inputs())
    return SearchModel(directory)


@pytest.fixture(scope="session")
def signatures(exported: Exported):
    """The signatures of the loaded model; the model itself is kept alive beside them."""
    loaded = tf.saved_model.load(str(exported.version))
    yield loaded.signatures
    del loaded


@pytest.fixture(scope="session")
def encoded() -> list[bytes]:
    """Four good pictures of several formats; a broken, an oversized and an empty file among them."""
    whole = [picture(20, "PNG"), picture(21, "JPEG"), picture(22, "WEBP"), picture(23, "GIF")]
    return [whole[0], b"no image", whole[1], picture(24, size=(101, 100)), whole[2], b"", whole[3]]


VALID = np.array([True, False, True, False, True, False, True])


@pytest.fixture(scope="session")
def model(exported) -> SearchModel:
    return SearchModel(exported.directory)


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photographs")
    (folder / "more").mkdir()
    for seed in range(5):
        (folder / ("more" if seed > 2 else ".") / f"{seed}.png").write_bytes(picture(seed))
    (folder / "broken.jpg").write_bytes(b"broken")
    return folder


@pytest.fixture(scope="session")
def cache(tmp_path_factory) -> str:
    return str(tmp_path_factory.mktemp("cache"))
