"""The functions of a SavedModel over feature vectors: vectors in, embeddings, scores and search results out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import tensorflow as tf

from xmkeras.serving.signatures import PackedGallery, named_weights, unit_rows

if TYPE_CHECKING:
    from xmkeras.models.features import FeatureTowers
    from xmkeras.retrieval.embeddings import EmbeddingSet

Distance = Literal["cosine", "euclidean"]


class EuclideanGallery(PackedGallery):
    """Embeddings as they are, searched by the Euclidean distance; a score is minus the distance."""

    def __init__(self, gallery: EmbeddingSet):
        super().__init__(gallery)
        self.vectors.assign(np.asarray(gallery.vectors, np.float32))

    def search(self, queries: tf.Tensor, k: tf.Tensor | int) -> dict[str, tf.Tensor]:
        """The `k` nearest items of queries (n, d): `ids` and `scores` (n, k), best first."""
        squares = tf.reduce_sum(tf.square(self.vectors), axis=1)
        products = tf.linalg.matmul(queries, self.vectors, transpose_b=True)
        own = tf.reduce_sum(tf.square(queries), axis=1, keepdims=True)
        found, rows = tf.math.top_k(-tf.sqrt(tf.maximum(own + squares - 2 * products, 0.0)), k)
        with tf.device("CPU"):
            return {"ids": tf.gather(self.ids, rows), "scores": found}


class FeatureSignatures(tf.Module):
    """Feature towers as functions of plain tensors, preprocessing included, in inference mode.

    Args:
        towers: the two towers.
        distance: with "cosine" embeddings leave as unit vectors, with "euclidean" as they are; a score is the cosine,
            or minus the distance.
        images, texts: what to search in; None leaves the searches out.
        top_k: results of a search, at most as many as the gallery holds.
    """

    def __init__(
        self,
        towers: FeatureTowers,
        *,
        distance: Distance = "cosine",
        images: EmbeddingSet | None = None,
        texts: EmbeddingSet | None = None,
        top_k: int = 10,
    ):
        super().__init__(name="feature_signatures")
        self._image, self._text = towers.encode_image_features, towers.encode_text_features
        self._widths, self._distance, self._top_k = towers.widths, distance, top_k
        self.weights = named_weights(towers)
        kind = PackedGallery if distance == "cosine" else EuclideanGallery
        self.images = None if images is None else kind(images)
        self.texts = None if texts is None else kind(texts)

    @property
    def identity(self) -> tuple[Any, ...]:
        """All but the weights that decides an embedding."""
        return "feature vectors", self._widths, self._distance

    def functions(self) -> dict[str, Any]:
        """The signatures by name, as `tf.saved_model.save` wants them; image encoding is the default one."""
        image, text = (
            tf.TensorSpec([None, width], tf.float32, name=f"{side}_features")
            for side, width in zip(("image", "text"), self._widths, strict=True)
        )
        functions = {
            "serving_default": _compiled(self._encode_image, image),
            "encode_image_features": _compiled(self._encode_image, image),
            "encode_text_features": _compiled(self._encode_text, text),
            "score": _compiled(self._score, image, text),
        }
        if self.images is not None:
            functions["search_by_text_features"] = _compiled(self._search_images_by_text, text)
            functions["search_by_image_features"] = _compiled(self._search_images_by_image, image)
        if self.texts is not None:
            functions["search_texts_by_image_features"] = _compiled(self._search_texts_by_image, image)
        return functions

    def _encode_image(self, image_features: tf.Tensor) -> dict[str, tf.Tensor]:
        """Image vectors (n, f) -> `embedding` (n, d)."""
        return {"embedding": self._finish(self._image(image_features, training=False))}

    def _encode_text(self, text_features: tf.Tensor) -> dict[str, tf.Tensor]:
        """Text vectors (n, t) -> `embedding` (n, d)."""
        return {"embedding": self._finish(self._text(text_features, training=False))}

    def _score(self, image_features: tf.Tensor, text_features: tf.Tensor) -> dict[str, tf.Tensor]:
        """n image vectors, n text vectors -> `score` (n,) of each pair."""
        same = tf.debugging.assert_equal(
            tf.shape(image_features)[0],
            tf.shape(text_features)[0],
            "score takes as many images as texts, one pair a row.",
        )
        with tf.control_dependencies([same]):
            image = self._encode_image(image_features)["embedding"]
        text = self._encode_text(text_features)["embedding"]
        if self._distance == "cosine":
            return {"score": tf.reduce_sum(image * text, axis=-1)}
        return {"score": -tf.norm(image - text, axis=-1)}

    def _search_images_by_text(self, text_features: tf.Tensor) -> dict[str, tf.Tensor]:
        """Text vectors (n, t) -> `ids` (n, top_k) of the nearest images and their `scores` (n, top_k)."""
        return self._search(self.images, self._encode_text(text_features))

    def _search_images_by_image(self, image_features: tf.Tensor) -> dict[str, tf.Tensor]:
        """Image vectors (n, f) -> `ids` (n, top_k) of the nearest images and their `scores` (n, top_k)."""
        return self._search(self.images, self._encode_image(image_features))

    def _search_texts_by_image(self, image_features: tf.Tensor) -> dict[str, tf.Tensor]:
        """Image vectors (n, f) -> `ids` (n, top_k) of the nearest texts and their `scores` (n, top_k)."""
        return self._search(self.texts, self._encode_image(image_features))

    def _search(self, gallery: PackedGallery | None, encoded: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        assert gallery is not None
        return gallery.search(encoded["embedding"], min(self._top_k, gallery.size))

    def _finish(self, embedding: tf.Tensor) -> tf.Tensor:
        return unit_rows(embedding) if self._distance == "cosine" else tf.cast(embedding, tf.float32)


def _compiled(function: Any, *specs: tf.TensorSpec) -> Any:
    return tf.function(function, input_signature=list(specs), autograph=False)
