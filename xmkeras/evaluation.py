"""Embeds a split with a method's towers and measures retrieval on it."""

from __future__ import annotations

import pathlib
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf
from absl import logging

from xmkeras import assembly
from xmkeras.config import Config
from xmkeras.data import batches
from xmkeras.data.rows import RowTable
from xmkeras.errors import UserError
from xmkeras.method import Method
from xmkeras.retrieval import protocols
from xmkeras.retrieval.embeddings import EmbeddingSet, EmbeddingWriter

_IMAGE_BATCH = 64
_TEXT_BATCH = 256


class Evaluator:
    """Embeds and measures one split; compiled once, used at every evaluation of a run."""

    def __init__(self, config: Config, table: RowTable, method: Method, directory: pathlib.Path):
        self.table = table
        self._directory = directory
        towers = method.towers
        self._image_batches = batches.image_batches(
            table, image_size=assembly.image_size(config), batch_size=_IMAGE_BATCH
        )
        self._caption_batches = batches.caption_batches(table, tokenize=towers.tokenizer, batch_size=_TEXT_BATCH)
        self._encode_image = _inference(lambda batch: towers.encode_image(batch["image"]))
        self._encode_text = _inference(lambda batch: towers.encode_text_ids(batch["text"]))
        self._dim = int(towers.image.output_shape[-1])

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
        texts = self._stream("texts", self._caption_batches, self._encode_text)
        if missing:
            kept = np.isin(texts.ids, images.ids)
            texts = EmbeddingSet(texts.ids[kept], texts.labels[kept], texts.vectors[kept])
        return images, texts

    def measure(self, ties: str = "pessimistic") -> dict[str, float]:
        """Embeds the split and returns its metrics by name."""
        return self.metrics(*self.embed(), ties=ties)

    def metrics(self, images: EmbeddingSet, texts: EmbeddingSet, ties: str = "pessimistic") -> dict[str, float]:
        """Retrieval both ways; identities count by label; class-labelled sets add Reed's protocol."""
        relevance = "label" if self.table.label_kind == "identity" else "id"
        results = protocols.retrieval(images, texts, relevance=relevance, ties=ties)
        if self.table.label_kind == "class":
            results |= protocols.reed(images, texts)
        return results

    def _stream(self, name: str, dataset: tf.data.Dataset, encode: Callable[[Any], Any]) -> EmbeddingSet:
        ids = np.array(self.table.image_ids)
        with EmbeddingWriter(self._directory / name, self._dim) as writer:
            for batch in dataset:
                rows = batch["row"].numpy()
                writer.append(ids[rows], self.table.labels[rows], encode(batch).numpy())
            return writer.close()


def _inference(encode: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return tf.function(lambda batch: tf.cast(encode(batch), tf.float32), reduce_retracing=True)
