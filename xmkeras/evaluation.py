"""Embeds a split with a method's towers and measures retrieval on it."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf
from absl import logging

from xmkeras import assembly
from xmkeras.config import Config
from xmkeras.data import feature_batches, passes
from xmkeras.data import images as data_images
from xmkeras.data.rows import RowTable
from xmkeras.data.token_vectors import TokenVectors
from xmkeras.errors import UserError
from xmkeras.method import Method
from xmkeras.retrieval import class_protocols, protocols
from xmkeras.retrieval.embeddings import EmbeddingSet, EmbeddingWriter
from xmkeras.retrieval.feature_protocol import feature_protocol
from xmkeras.retrieval.gallery import Thumbnail
from xmkeras.retrieval.protocols import BothWays, Relevance
from xmkeras.retrieval.ranking import Ties
from xmkeras.retrieval.scores import Score

_IMAGE_BATCH = 64
_TEXT_BATCH = 256
_FEATURE_BATCH = 1024


@dataclasses.dataclass(frozen=True)
class Measured:
    """One split's metrics by name, and what they were made of; `curves` are precision over scope, by way."""

    results: dict[str, float]
    ranked: BothWays
    images: EmbeddingSet
    texts: EmbeddingSet
    captions: list[str]
    relevance: Relevance
    curves: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)

    @property
    def scalars(self) -> dict[str, float]:
        """The results that change from one evaluation to the next: neither sizes nor chance."""
        return {
            name: value
            for name, value in self.results.items()
            if not name.startswith("chance/") and not name.endswith(("/queries", "/gallery"))
        }


class Evaluator:
    """Embeds and measures one split; compiled once, used at every evaluation of a run."""

    def __init__(self, config: Config, table: RowTable, method: Method, directory: pathlib.Path):
        self.table = table
        self.score: Score = None if method.distance == "cosine" else method.distance
        self._directory = directory
        self._readable = np.ones(0, bool)
        self._row_of = {table.image_ids[row]: int(row) for row in table.distinct_images()}
        towers = method.retrieval_towers
        self._dim = int(towers.embedding_dim)
        self._has_images = table.text_features is None
        if self._has_images:
            self._tokenize = towers.tokenizer
            self._image_size = assembly.image_size(config)
            self._encode_image = _inference(
                lambda batch: towers.encode_features(batch["image_features"])
                if "image_features" in batch
                else towers.encode_image(batch["image"])
            )
            self._encode_text = _inference(
                lambda batch: towers.encode_text_tokens(batch["text_tokens"], batch["text_mask"])
                if "text_tokens" in batch
                else towers.encode_text_ids(batch["text"])
            )
            self.read(None, None)
        else:
            self._image_batches = feature_batches.image_feature_batches(table, _FEATURE_BATCH)
            self._text_batches = feature_batches.text_feature_batches(table, _FEATURE_BATCH)
            self._encode_image = _inference(lambda batch: towers.encode_image_features(batch["image_features"]))
            self._encode_text = _inference(lambda batch: towers.encode_text_features(batch["text_features"]))

    def read(self, features: np.ndarray | None, tokens: TokenVectors | None) -> None:
        """From now on images and captions are read as what frozen towers made of them; None: as they are.

        Args:
            features: float32 (rows, f) of a frozen image backbone, NaN where an image cannot be read.
            tokens: the vectors that a frozen BERT made of the captions.
        """
        if not self._has_images:
            return
        self._image_batches = (
            passes.image_batches(self.table, image_size=self._image_size, batch_size=_IMAGE_BATCH)
            if features is None
            else passes.cached_image_batches(self.table, features, batch_size=_FEATURE_BATCH)
        )
        self._text_batches = passes.caption_batches(
            self.table, tokenize=self._tokenize, batch_size=_TEXT_BATCH, tokens=tokens
        )

    def embed(self) -> tuple[EmbeddingSet, EmbeddingSet]:
        """Streams the embeddings of all distinct images and of all captions to disk.

        Captions of images that cannot be read are left out with them, and the log says so.

        Raises:
            UserError: no image of the split can be read.
        """
        images = self._stream("images", self._image_batches, self._encode_image)
        if not len(images.ids):
            raise UserError(f"None of the images of {self.table.name} can be read; check them with tools.verify_data.")
        missing = len(self.table.distinct_images()) - len(images.ids)
        if missing:
            logging.warning("%d broken images of %s are left out of the evaluation.", missing, self.table.name)
        texts = self._stream("texts", self._text_batches, self._encode_text)
        self._readable = np.isin(texts.ids, images.ids) if missing else np.ones(len(texts), bool)
        return images, texts.take(self._readable) if missing else texts

    def measure(self, ties: Ties = "pessimistic") -> Measured:
        """Embeds the split and ranks it both ways.

        Items of one identity are all right answers, and mAP, MAP@R and mINP tell how early they all come. Sets
        labelled by class are measured by these, an item of the class being right, and by Reed's protocol too.
        """
        images, texts = self.embed()
        captions = np.array(assembly.captions_of(self.table), dtype=object)[self._readable]
        by_class = self.table.label_kind == "class" and not self._has_images
        relevance: Relevance = "label" if self.table.label_kind == "identity" or by_class else "id"
        ranked = protocols.rank_both_ways(images, texts, relevance=relevance, ties=ties, score=self.score)
        results = protocols.retrieval(images, texts, relevance=relevance, ranked=ranked)
        if by_class:
            figures, curves = feature_protocol(images, texts, ties=ties, score=self.score)
            return Measured(results | figures, ranked, images, texts, captions.tolist(), relevance, curves)
        if self.table.label_kind == "class":
            results |= protocols.reed(images, texts)
        if self.table.label_kind in ("class", "identity"):
            results |= class_protocols.mean_average_precision(images, texts, ties=ties)
        return Measured(results, ranked, images, texts, captions.tolist(), relevance)

    @property
    def thumbnail(self) -> Thumbnail | None:
        """Makes the picture of an image id as the towers see it, uint8 (h, w, 3); None for sets of feature pairs."""
        return self._thumbnail if self._has_images else None

    def _thumbnail(self, image_id: str) -> np.ndarray:
        row = self._row_of[image_id]
        pixels = data_images.load(tf.constant(self.table.read_bytes(row)), self._image_size)
        return tf.cast(tf.round(pixels), tf.uint8).numpy()

    def _stream(self, name: str, dataset: tf.data.Dataset, encode: Any) -> EmbeddingSet:
        ids = np.array(self.table.image_ids)
        # Traced once for all batches, whatever their lengths: a trace of BERT takes a second.
        encode = encode.get_concrete_function(dataset.element_spec)
        with EmbeddingWriter(self._directory / name, self._dim) as writer:
            for batch in dataset:
                rows = batch["row"].numpy()
                writer.append(ids[rows], self.table.labels[rows], encode(batch).numpy())
        return EmbeddingSet.load(self._directory / name)


def _inference(encode: Callable[[Any], Any]) -> Any:
    return tf.function(lambda batch: tf.cast(encode(batch), tf.float32))
