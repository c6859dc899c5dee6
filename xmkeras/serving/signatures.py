"""The functions of a SavedModel: image bytes and sentences in, embeddings, scores and search results out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from xmkeras.data import images

if TYPE_CHECKING:
    from xmkeras.models.features import FeatureTowers
    from xmkeras.models.towers import Towers
    from xmkeras.retrieval.embeddings import EmbeddingSet

NO_SCORE = -1.0  # The lowest cosine: finite, so that it survives JSON, and last in any order.

_IMAGE_BYTES = tf.TensorSpec([None], tf.string, name="image_bytes")
_TEXT = tf.TensorSpec([None], tf.string, name="text")
_K = tf.TensorSpec(None, tf.int32, name="k")


class PackedGallery(tf.Module):
    """Image embeddings and their ids inside a SavedModel.

    They are variables, because constants save slowly and end at 2 GiB.

    Args:
        gallery: vectors (g, d), normalised here, and ids (g,).

    Raises:
        ValueError: the gallery is empty.
    """

    def __init__(self, gallery: EmbeddingSet):
        super().__init__(name="gallery")
        if len(gallery.ids) == 0:
            raise ValueError("A gallery to search in needs at least one image.")
        vectors = np.asarray(gallery.vectors, np.float32)
        norms = np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), np.float32(1e-12))
        self.size = len(vectors)
        self.vectors = tf.Variable(vectors / norms, trainable=False, name="vectors")
        with tf.device("CPU"):
            self.ids = tf.Variable([str(name) for name in gallery.ids], trainable=False, name="ids")

    def search(self, queries: tf.Tensor, k: tf.Tensor | int) -> dict[str, tf.Tensor]:
        """The `k` nearest images of unit queries (n, d): `ids` and cosines `scores` (n, k), best first."""
        scores, rows = tf.math.top_k(tf.linalg.matmul(queries, self.vectors, transpose_b=True), k)
        with tf.device("CPU"):
            return {"ids": tf.gather(self.ids, rows), "scores": scores}


class Signatures(tf.Module):
    """Towers as functions of plain tensors, in inference mode.

    Every variable hangs on this module once, by name; of the towers only the tokenizer is tracked besides,
    because it owns the lookup table. No function has default arguments, and only the `_k` variants take an
    input that is not one element a row.

    Args:
        towers: the two towers; their raw embeddings are L2-normalised here.
        image_size: height and width to which images are resized, in pixels.
        max_pixels: an image that declares more pixels than this is invalid and is never decoded.
        tokenizer: strings (n,) -> token ids (n, L) and `get_config`; None takes that of the towers.
    """

    def __init__(
        self,
        towers: Towers,
        *,
        image_size: tuple[int, int],
        max_pixels: int = images.MAX_PIXELS,
        tokenizer: Any = None,
    ):
        super().__init__(name="signatures")
        self._image, self._text = towers.encode_image, towers.encode_text_ids
        self.image_size, self._max_pixels = image_size, max_pixels
        self.tokenizer = tokenizer or towers.tokenizer
        self.weights = named_weights(towers)

    @property
    def identity(self) -> tuple[Any, ...]:
        """All but the weights that decides an embedding."""
        return self.image_size, self.tokenizer.get_config()

    def functions(self) -> dict[str, Any]:
        """The signatures by name, as `tf.saved_model.save` wants them; image encoding is the default one."""
        return {
            "serving_default": self.encode_image,
            "encode_image": self.encode_image,
            "encode_text": self.encode_text,
            "score": self.score,
        }

    @tf.function(input_signature=[_IMAGE_BYTES], autograph=False)
    def encode_image(self, image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
        """Encoded images (n,) -> `embedding` (n, d) of unit length, zero where not `valid` (n,)."""
        embedding, valid = self._embed_images(image_bytes)
        return {"embedding": embedding, "valid": valid}

    @tf.function(input_signature=[_TEXT], autograph=False)
    def encode_text(self, text: tf.Tensor) -> dict[str, tf.Tensor]:
        """Sentences (n,) -> `embedding` (n, d) of unit length."""
        return {"embedding": self._embed_texts(text)}

    @tf.function(input_signature=[_IMAGE_BYTES, _TEXT], autograph=False)
    def score(self, image_bytes: tf.Tensor, text: tf.Tensor) -> dict[str, tf.Tensor]:
        """n images, n sentences -> `score` (n,), the cosine of each pair, NO_SCORE where not `valid` (n,)."""
        same = tf.debugging.assert_equal(
            tf.shape(image_bytes), tf.shape(text), "score takes as many images as texts, one pair a row."
        )
        with tf.control_dependencies([same]):
            embedding, valid = self._embed_images(image_bytes)
        cosine = tf.reduce_sum(embedding * self._embed_texts(text), axis=-1)
        return {"score": tf.where(valid, cosine, NO_SCORE), "valid": valid}

    @tf.function(input_signature=[_IMAGE_BYTES], autograph=False)
    def _embed_images(self, image_bytes: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        pixels, valid = images.decode_batch(image_bytes, self.image_size, max_pixels=self._max_pixels)
        embedding = unit_rows(self._image(pixels, training=False))
        return tf.where(valid[:, None], embedding, 0.0), valid

    @tf.function(input_signature=[_TEXT], autograph=False)
    def _embed_texts(self, text: tf.Tensor) -> tf.Tensor:
        return unit_rows(self._text(self.tokenizer(text), training=False))


class SearchSignatures(Signatures):
    """The same with a gallery inside, and the search in it.

    Args:
        gallery: the images to search in.
        top_k: results of a search, at most as many as the gallery holds.

    The other arguments are those of `Signatures`.
    """

    def __init__(self, towers: Towers, *, gallery: EmbeddingSet, top_k: int = 10, **options: Any):
        super().__init__(towers, **options)
        self.gallery = PackedGallery(gallery)
        self._top_k = min(top_k, self.gallery.size)

    def functions(self) -> dict[str, Any]:
        """The signatures by name, those of the search among them."""
        return {
            **super().functions(),
            "search_by_text": self.search_by_text,
            "search_by_image": self.search_by_image,
            "search_by_text_k": self.search_by_text_k,
            "search_by_image_k": self.search_by_image_k,
        }

    @tf.function(input_signature=[_TEXT], autograph=False)
    def search_by_text(self, text: tf.Tensor) -> dict[str, tf.Tensor]:
        """Sentences (n,) -> `ids` (n, top_k) of the nearest images and their `scores` (n, top_k)."""
        return self.gallery.search(self._embed_texts(text), self._top_k)

    @tf.function(input_signature=[_IMAGE_BYTES], autograph=False)
    def search_by_image(self, image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
        """Images (n,) -> `ids`, `scores` (n, top_k), "" and NO_SCORE in rows that are not `valid` (n,)."""
        embedding, valid = self._embed_images(image_bytes)
        found = self.gallery.search(embedding, self._top_k)
        return {**_blank(found, valid[:, None]), "valid": valid}

    @tf.function(input_signature=[_TEXT, _K], autograph=False)
    def search_by_text_k(self, text: tf.Tensor, k: tf.Tensor) -> dict[str, tf.Tensor]:
        """`search_by_text` with the number of results as an input, one for all or one a row."""
        return self._search_k(self._embed_texts(text), k)

    @tf.function(input_signature=[_IMAGE_BYTES, _K], autograph=False)
    def search_by_image_k(self, image_bytes: tf.Tensor, k: tf.Tensor) -> dict[str, tf.Tensor]:
        """`search_by_image` with the number of results as an input, one for all or one a row."""
        embedding, valid = self._embed_images(image_bytes)
        return {**_blank(self._search_k(embedding, k), valid[:, None]), "valid": valid}

    def _search_k(self, queries: tf.Tensor, k: tf.Tensor) -> dict[str, tf.Tensor]:
        """Results (n, max k), "" and NO_SCORE beyond a row's own k; `k` has 1 or n elements in any shape."""
        per_row = tf.broadcast_to(tf.reshape(k, [-1]), tf.shape(queries)[:1])
        found = self.gallery.search(queries, tf.clip_by_value(tf.reduce_max(k), 0, self.gallery.size))
        return _blank(found, tf.range(tf.shape(found["scores"])[1]) < per_row[:, None])


def unit_rows(embedding: tf.Tensor) -> tf.Tensor:
    """Rows of (n, d) at length 1 in float32; a zero row stays zero."""
    return tf.math.l2_normalize(tf.cast(embedding, tf.float32), axis=-1, epsilon=1e-24)


def named_weights(towers: Towers | FeatureTowers) -> dict[str, tf.Variable]:
    """The variables of the towers' inference, each once, by a name that is the same in every process."""
    named: dict[str, tf.Variable] = {}
    for prefix, part in towers.named_parts.items():
        for weight in part.weights:
            named[f"{prefix}/{weight.path.removeprefix(f'{part.name}/')}"] = weight.value
    return named


def input_specs(function: tf.types.experimental.ConcreteFunction) -> dict[str, tf.TensorSpec]:
    """The inputs of a concrete signature by name."""
    return {spec.name: spec for spec in tf.nest.flatten(function.structured_input_signature)}


def _blank(found: dict[str, tf.Tensor], keep: tf.Tensor) -> dict[str, tf.Tensor]:
    """Results (n, k) with "" and NO_SCORE wherever `keep`, broadcast to (n, k), is false."""
    keep = tf.broadcast_to(keep, tf.shape(found["scores"]))
    return {"ids": tf.where(keep, found["ids"], ""), "scores": tf.where(keep, found["scores"], NO_SCORE)}
