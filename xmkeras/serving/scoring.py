"""By what a SavedModel scores: the cosine, minus the Euclidean distance, or a method's own score of image and text."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import tensorflow as tf

Encoded = dict[str, tf.Tensor]  # `embedding` (n, d), or (n, L, d) beside `mask` (n, L)
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


class Cosine:
    """The inner product of unit vectors; a zero vector has the cosine 0 with everything."""

    lowest = -1.0
    within = True

    def finish(self, embedding: tf.Tensor) -> tf.Tensor:
        return tf.math.l2_normalize(tf.cast(embedding, tf.float32), axis=-1, epsilon=1e-24)

    def rows(self, images: Encoded, texts: Encoded) -> tf.Tensor:
        return tf.reduce_sum(images["embedding"] * texts["embedding"], axis=-1)

    def matrix(self, queries: Encoded, items: Encoded, *, turned: bool) -> tf.Tensor:
        return tf.linalg.matmul(queries["embedding"], items["embedding"], transpose_b=True)


class Euclidean:
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


class Pairs:
    """A method's own score, of which nothing is assumed; a gallery is scored a shard at a time.

    Args:
        score: outputs `image`, `text`, and their masks -> (n, m), see `xmkeras.method.Method.score`.
        within: whether the model has one side, whose items then stand on both.
    """

    lowest = float(tf.float32.min)

    def __init__(self, score: PairScore, *, within: bool):
        self._score, self.within = score, within

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


def served_score(similarity: str, score: PairScore | None, sides: int) -> ServedScore:
    """The scorer of a method's `similarity` and `score`, for a model of one or two sides.

    Raises:
        ValueError: an unknown similarity, or pairs without a score.
    """
    if similarity == "pairs":
        if score is None:
            raise ValueError("The similarity 'pairs' needs a score.")
        return Pairs(score, within=sides == 1)
    known: dict[str, ServedScore] = {"cosine": Cosine(), "euclidean": Euclidean()}
    if similarity not in known:
        raise ValueError(f"similarity is {similarity!r}: none of {', '.join(known)}, pairs")
    return known[similarity]


def _outputs(images: Encoded, texts: Encoded) -> dict[str, tf.Tensor]:
    """Both sides as a method names its outputs."""
    named = {}
    for side, encoded in (("image", images), ("text", texts)):
        named[side] = encoded["embedding"]
        if "mask" in encoded:
            named[f"{side}/mask"] = encoded["mask"]
    return named
