"""By what a SavedModel scores: the cosine, minus the Euclidean distance, or a method's own score of image and text."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import tensorflow as tf

Encoded = dict[str, tf.Tensor]  # `embedding` (n, d), or (n, L, d) beside `mask` (n, L)
Found = tuple[tf.Tensor, tf.Tensor]
PairScore = Callable[[dict[str, Any]], Any]

_SHARD = 128  # items of a gallery that are scored at a time


class ServedScore(Protocol):
    """What the signatures need to know of a score.

    Attributes:
        lowest: in place of a score where there is none: finite, so that it survives JSON, and last in any order.
        within: whether two items of one side can be scored.
    """

    lowest: float
    within: bool

    def finish(self, embedding: tf.Tensor) -> tf.Tensor:
        """What an encoder gave, as it leaves the model and lies in a gallery, float32."""

    def rows(self, images: Encoded, texts: Encoded) -> tf.Tensor:
        """The scores (n,) of n images with n texts, pair by pair."""

    def matrix(self, queries: Encoded, items: Encoded, *, turned: bool) -> tf.Tensor:
        """The scores (n, g) of n queries with g items; `turned` says that the items are the images."""

    def summary(self, items: Encoded) -> tf.Tensor | None:
        """What `best` finds candidates by, (g, d); None where it scores all items."""

    def best(self, queries: Encoded, items: Encoded, k: tf.Tensor | int, *, turned: bool) -> Found:
        """The scores (n, k) of the best items, best first, and their places; `items` with their `summary`, if any."""


class _Exact:
    """Every item is scored."""

    def matrix(self, queries: Encoded, items: Encoded, *, turned: bool) -> tf.Tensor:
        raise NotImplementedError

    def summary(self, items: Encoded) -> tf.Tensor | None:
        return None

    def best(self, queries: Encoded, items: Encoded, k: tf.Tensor | int, *, turned: bool) -> Found:
        scores, rows = tf.math.top_k(self.matrix(queries, items, turned=turned), k)
        return scores, rows


class Cosine(_Exact):
    """The inner product of unit vectors; a zero vector has the cosine 0 with everything."""

    lowest = -1.0
    within = True

    def finish(self, embedding: tf.Tensor) -> tf.Tensor:
        return tf.math.l2_normalize(tf.cast(embedding, tf.float32), axis=-1, epsilon=1e-24)

    def rows(self, images: Encoded, texts: Encoded) -> tf.Tensor:
        return tf.reduce_sum(images["embedding"] * texts["embedding"], axis=-1)

    def matrix(self, queries: Encoded, items: Encoded, *, turned: bool) -> tf.Tensor:
        return tf.linalg.matmul(queries["embedding"], items["embedding"], transpose_b=True)


class Euclidean(_Exact):
    """Minus the distance of vectors as they are."""

    lowest = float(tf.float32.min)
    within = True

    def finish(self, embedding: tf.Tensor) -> tf.Tensor:
        return tf.cast(embedding, tf.float32)

    def rows(self, images: Encoded, texts: Encoded) -> tf.Tensor:
        return -tf.norm(images["embedding"] - texts["embedding"], axis=-1)

    def matrix(self, queries: Encoded, items: Encoded, *, turned: bool) -> tf.Tensor:
        one, two = queries["embedding"], items["embedding"]
        squares = tf.reduce_sum(tf.square(one), axis=1, keepdims=True) + tf.reduce_sum(tf.square(two), axis=1)
        return -tf.sqrt(tf.maximum(squares - 2 * tf.linalg.matmul(one, two, transpose_b=True), 0.0))


class Pairs(_Exact):
    """A method's own score, of which nothing is assumed; a gallery is scored a shard at a time.

    Args:
        score: outputs `image`, `text`, and their masks -> (n, m), see `xmkeras.method.Method.score`.
        within: whether the model has one side, whose items then stand on both.
        rerank: of a gallery that holds more, so many items are scored, those whose sums of vectors are nearest to the
            query's by their cosine; 0 scores all.
    """

    lowest = float(tf.float32.min)

    def __init__(self, score: PairScore, *, within: bool, rerank: int = 0):
        self._score, self.within, self._rerank = score, within, rerank

    def finish(self, embedding: tf.Tensor) -> tf.Tensor:
        return tf.cast(embedding, tf.float32)

    def rows(self, images: Encoded, texts: Encoded) -> tf.Tensor:
        def pair(outputs: Encoded) -> tf.Tensor:
            return self._score({name: value[None] for name, value in outputs.items()})[0, 0]

        return tf.map_fn(pair, _outputs(images, texts), fn_output_signature=tf.float32)

    def matrix(self, queries: Encoded, items: Encoded, *, turned: bool) -> tf.Tensor:
        size = tf.shape(items["embedding"])[0]

        def shard(start: tf.Tensor) -> tf.Tensor:
            # Beyond the end the last item repeats, so that all shards have one shape; these columns are cut off.
            places = tf.minimum(tf.range(start, start + _SHARD), size - 1)
            part = {name: tf.gather(value, places) for name, value in items.items()}
            scores = self._score(_outputs(part, queries) if turned else _outputs(queries, part))
            return scores if turned else tf.transpose(scores)

        shards = tf.map_fn(shard, tf.range(0, size, _SHARD), fn_output_signature=tf.float32, parallel_iterations=1)
        return tf.transpose(tf.reshape(shards, [-1, tf.shape(queries["embedding"])[0]])[:size])


    def summary(self, items: Encoded) -> tf.Tensor | None:
        if not 0 < self._rerank < len(items["embedding"]):
            return None
        return _summed(items)

    def best(self, queries: Encoded, items: Encoded, k: tf.Tensor | int, *, turned: bool) -> Found:
        if "summary" not in items:
            return super().best(queries, items, k, turned=turned)
        near = tf.linalg.matmul(_summed(queries), items["summary"], transpose_b=True)
        _, places = tf.math.top_k(near, tf.maximum(self._rerank, k))

        def exact(row: tf.Tensor) -> tf.Tensor:
            query = {name: value[row][None] for name, value in queries.items()}
            found = {name: tf.gather(value, places[row]) for name, value in items.items() if name != "summary"}
            scores = self._score(_outputs(found, query) if turned else _outputs(query, found))
            return tf.reshape(scores, [-1])

        scores = tf.map_fn(exact, tf.range(tf.shape(near)[0]), fn_output_signature=tf.float32, parallel_iterations=1)
        scores, order = tf.math.top_k(scores, k)
        return scores, tf.gather(places, order, batch_dims=1)


def served_score(similarity: str, score: PairScore | None, sides: int, rerank: int = 0) -> ServedScore:
    """The scorer of a method's `similarity` and `score`, for a model of one or two sides; `rerank` is for pairs alone.

    Raises:
        ValueError: an unknown similarity, or pairs without a score.
    """
    if similarity == "pairs":
        if score is None:
            raise ValueError("The similarity 'pairs' needs a score.")
        return Pairs(score, within=sides == 1, rerank=rerank)
    known: dict[str, ServedScore] = {"cosine": Cosine(), "euclidean": Euclidean()}
    if similarity not in known:
        raise ValueError(f"similarity is {similarity!r}: none of {', '.join(known)}, pairs")
    return known[similarity]


def _summed(items: Encoded) -> tf.Tensor:
    """The sum of each item's vectors that are there, of length 1: (n, d)."""
    vectors = items["embedding"]
    if "mask" in items:
        vectors = tf.where(items["mask"][..., None], vectors, 0.0)
    total = tf.reduce_sum(vectors, axis=1) if vectors.shape.rank == 3 else vectors
    return tf.math.l2_normalize(total, axis=-1, epsilon=1e-24)


def _outputs(images: Encoded, texts: Encoded) -> dict[str, tf.Tensor]:
    """Both sides as a method names its outputs."""
    named = {}
    for side, encoded in (("image", images), ("text", texts)):
        named[side] = encoded["embedding"]
        if "mask" in encoded:
            named[f"{side}/mask"] = encoded["mask"]
    return named
