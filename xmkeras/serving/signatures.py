"""The functions of a SavedModel: requests in, embeddings, scores and search results out."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import keras
import tensorflow as tf

from xmkeras.errors import UserError
from xmkeras.serving.inputs import kept_rows
from xmkeras.serving.packed_gallery import PackedGallery
from xmkeras.serving.scoring import Encoded, PairScore, served_score

if TYPE_CHECKING:
    from xmkeras.models.encoder import Towers
    from xmkeras.retrieval.embeddings import EmbeddingSet
    from xmkeras.serving.inputs import Input

# What a search in the gallery of a side is called, before `_by_` and the side that asks.
SEARCHES = {"image": "search", "text": "search_texts"}
_K = tf.TensorSpec(None, tf.int32, name="k")


class Signatures(tf.Module):
    """Towers as functions of plain tensors, in inference mode.

    Every variable hangs on this module once, by name. No function has default arguments, and only the `_k` variants
    take an input that is not one element a row. Where the input of a side can be invalid, `valid` (n,) is among the
    outputs, and a row that is not valid has zeros for an embedding, the lowest score and empty ids.

    Args:
        towers: of one or two sides.
        inputs: of each side, in the order of the towers.
        similarity: with "cosine" embeddings leave as unit vectors, otherwise as they are.
        score: needed for "pairs", see `xmkeras.method.Method.score`.
        heads: the layers that `score` uses beside the towers, by name.
        galleries: what to search in, by side.
        top_k: results of a search, at most as many as the gallery holds.
        rerank: with "pairs", how many items of a larger gallery a search scores, see `xmkeras.serving.scoring.Pairs`.

    Raises:
        UserError: a gallery is empty, or its vectors have another size than the embeddings.
    """

    def __init__(
        self,
        towers: Towers,
        inputs: Mapping[str, Input],
        *,
        similarity: str = "cosine",
        score: PairScore | None = None,
        heads: Mapping[str, keras.layers.Layer] | None = None,
        galleries: Mapping[str, EmbeddingSet] | None = None,
        top_k: int = 10,
        rerank: int = 0,
    ):
        super().__init__(name="signatures")
        self._towers, self._similarity, self._top_k = towers, similarity, top_k
        self._scorer = served_score(similarity, score, len(towers.sides), rerank)
        self.inputs = {side: inputs[side] for side in towers.sides}
        parts = {f"heads/{name}": head for name, head in (heads or {}).items()}
        self.weights = named_weights({**towers.named_parts, **parts})
        self.galleries = {side: self._packed(side, items) for side, items in (galleries or {}).items()}

    @functools.cached_property
    def _encode(self) -> dict[str, Any]:
        return {side: self._function(self._encoding(side), side) for side in self.inputs}

    @property
    def identity(self) -> tuple[object, ...]:
        """All but the weights that decides an embedding."""
        ends = () if self._similarity == "cosine" else (self._similarity,)
        return (*(given.identity for given in self.inputs.values()), *ends)

    def functions(self) -> dict[str, Any]:
        """The signatures by name, as `tf.saved_model.save` wants them; image encoding is the default one."""
        encoders = {f"encode_{side}": function for side, function in self._encode.items()}
        functions = {"serving_default": encoders["encode_image"], **encoders}
        if len(self.inputs) == 2:
            functions["score"] = self._function(self._score, "image", "text")
        for side, gallery in self.galleries.items():
            for asked in self.inputs:
                if asked != side or self._scorer.within:
                    functions |= self._searches(gallery, asked)
        return functions

    def _packed(self, side: str, items: EmbeddingSet) -> PackedGallery:
        gallery, dim = PackedGallery(side, items, self._scorer), self._towers.embedding_dim
        if gallery.dim != dim:
            raise UserError(f"The gallery's vectors have {gallery.dim} numbers and the model's {dim}; embed it anew.")
        return gallery

    def _function(self, function: Callable[..., dict[str, tf.Tensor]], *sides: str, k: bool = False) -> Any:
        # Traced here and now, once: a polymorphic function would be traced anew when it is saved.
        specs = [self.inputs[side].spec for side in sides] + [_K] * k
        return tf.function(function, input_signature=specs, autograph=False).get_concrete_function()

    def _encoding(self, side: str) -> Callable[[tf.Tensor], Encoded]:
        def encode(request: tf.Tensor) -> Encoded:
            """A request of n rows -> `embedding` (n, d), or (n, L, d) beside `mask` (n, L)."""
            entries, valid = self.inputs[side].entries(request)
            given = self._towers.sides[side]({name: _one_at_least(entry) for name, entry in entries.items()})
            rows = tf.shape(request)[0]
            encoded = {"embedding": self._scorer.finish(given[""])[:rows]}
            if "mask" in given:
                encoded["mask"] = given["mask"][:rows]
            if valid is not None:
                encoded |= {"embedding": kept_rows(encoded["embedding"], valid), "valid": valid}
            return encoded

        return encode

    def _score(self, image: tf.Tensor, text: tf.Tensor) -> dict[str, tf.Tensor]:
        """n images, n texts -> the `score` (n,) of each pair."""
        same = tf.debugging.assert_equal(
            tf.shape(image)[0], tf.shape(text)[0], "score takes as many images as texts, one pair a row."
        )
        with tf.control_dependencies([same]):
            images = self._encode["image"](image)
        texts = self._encode["text"](text)
        score = self._scorer.rows(images, texts)
        faults = [encoded["valid"] for encoded in (images, texts) if "valid" in encoded]
        if not faults:
            return {"score": score}
        valid = tf.reduce_all(tf.stack(faults), axis=0)
        return {"score": tf.where(valid, score, self._scorer.lowest), "valid": valid}

    def _searches(self, gallery: PackedGallery, asked: str) -> dict[str, Any]:
        """Both searches of the side `asked` in a gallery: for `top_k` results, and for k, one for all or one a row."""
        most = min(self._top_k, gallery.size)

        def search(request: tf.Tensor) -> dict[str, tf.Tensor]:
            queries = self._encode[asked](request)
            return self._answer(gallery.search(queries, asked, most), queries)

        def search_k(request: tf.Tensor, k: tf.Tensor) -> dict[str, tf.Tensor]:
            queries = self._encode[asked](request)
            per_row = tf.broadcast_to(tf.reshape(k, [-1]), tf.shape(request)[:1])
            found = gallery.search(queries, asked, tf.clip_by_value(tf.reduce_max(k), 0, gallery.size))
            wanted = tf.range(tf.shape(found["scores"])[1]) < per_row[:, None]
            return self._answer(self._blank(found, wanted), queries)

        name = f"{SEARCHES[gallery.side]}_by_{asked}"
        return {name: self._function(search, asked), f"{name}_k": self._function(search_k, asked, k=True)}

    def _answer(self, found: dict[str, tf.Tensor], queries: Encoded) -> dict[str, tf.Tensor]:
        if "valid" not in queries:
            return found
        return {**self._blank(found, queries["valid"][:, None]), "valid": queries["valid"]}

    def _blank(self, found: dict[str, tf.Tensor], keep: tf.Tensor) -> dict[str, tf.Tensor]:
        """Results (n, k) without id and score wherever `keep`, broadcast to (n, k), is false."""
        keep = tf.broadcast_to(keep, tf.shape(found["scores"]))
        scores = tf.where(keep, found["scores"], self._scorer.lowest)
        return {"ids": tf.where(keep, found["ids"], ""), "scores": scores}


def _one_at_least(entry: tf.Tensor) -> tf.Tensor:
    """The rows of an entry, or one row of zeros where there is none: kernels of the CPU refuse an empty batch."""
    nothing = tf.equal(tf.shape(entry)[0], 0)
    one = lambda: tf.zeros(tf.concat([[1], tf.shape(entry)[1:]], 0), entry.dtype)  # noqa: E731
    some: tf.Tensor = tf.ensure_shape(tf.cond(nothing, one, lambda: entry), entry.shape)
    return some


def named_weights(parts: Mapping[str, keras.layers.Layer]) -> dict[str, tf.Variable]:
    """The variables of inference, each once, by a name that is the same in every process."""
    named: dict[str, tf.Variable] = {}
    for prefix, part in parts.items():
        for weight in part.weights:
            named[f"{prefix}/{weight.path.removeprefix(f'{part.name}/')}"] = weight.value
    return named


def input_specs(function: tf.types.experimental.ConcreteFunction) -> dict[str, tf.TensorSpec]:
    """The inputs of a concrete signature by name."""
    return {spec.name: spec for spec in tf.nest.flatten(function.structured_input_signature)}
