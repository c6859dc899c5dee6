"""A gallery inside a SavedModel: what was embedded of one side, its ids, and the search in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import tensorflow as tf

from xmkeras.errors import UserError
from xmkeras.serving.scoring import Encoded, ServedScore

if TYPE_CHECKING:
    from xmkeras.retrieval.embeddings import EmbeddingSet


class PackedGallery(tf.Module):
    """Embeddings and ids as variables, because constants save slowly and end at 2 GiB.

    Args:
        side: of the items, "image" or "text".
        items: vectors (g, d), or g sequences of vectors, which are padded to the longest, and ids (g,).
        scorer: by what is searched.

    Raises:
        UserError: there is no item.
    """

    def __init__(self, side: str, items: EmbeddingSet, scorer: ServedScore):
        super().__init__(name="gallery")
        if not len(items):
            raise UserError(f"The gallery of {side}s to be packed holds none; choose a split that has some.")
        self.side, self.size = side, len(items)
        self._scorer = scorer
        block = items.block(slice(None))
        vectors, mask = block if isinstance(block, tuple) else (block, None)
        self.dim = int(vectors.shape[-1])
        self.vectors = tf.Variable(scorer.finish(tf.constant(vectors)), trainable=False, name="vectors")
        self.mask = None if mask is None else tf.Variable(mask, trainable=False, name="mask")
        summary = scorer.summary(self._items())
        self.summary = None if summary is None else tf.Variable(summary, trainable=False, name="summary")
        with tf.device("CPU"):
            self.ids = tf.Variable([str(name) for name in items.ids], trainable=False, name="ids")

    def search(self, queries: Encoded, asked: str, k: tf.Tensor | int) -> dict[str, tf.Tensor]:
        """The `k` best items for n queries of the side `asked`: `ids` and `scores` (n, k), best first."""
        items = self._items()
        if self.summary is not None:
            items["summary"] = self.summary.value()
        turned = self.side == "image" and asked == "text"
        scores, rows = self._scorer.best(queries, items, k, turned=turned)
        with tf.device("CPU"):
            return {"ids": tf.gather(self.ids, rows), "scores": scores}

    def _items(self) -> Encoded:
        items: Encoded = {"embedding": self.vectors.value()}
        return items if self.mask is None else {**items, "mask": self.mask.value()}
