"""An exported model as a Python object: image files, sentences or vectors in, numpy arrays out."""

from __future__ import annotations

import json
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import tensorflow as tf

from xmkeras.errors import UserError
from xmkeras.serving import tf_text_tokenizer
from xmkeras.serving.saved_model import METADATA_FILE
from xmkeras.serving.signatures import SEARCHES, input_specs

# What a description of any version has.
_NEEDED = {"fingerprint", "embedding_dim", "credit", "gallery"}

Rows = Sequence[bytes] | Sequence[str] | np.ndarray


class SearchModel:
    """A SavedModel of this library, loaded in this process.

    Args:
        directory: a run directory, its `saved_model` folder, or a version inside that; where several versions
            lie beside each other, the highest number is taken, as TensorFlow Serving does.
        batch_size: rows sent to the graph at once. Longer inputs go through in batches; the signatures take
            any number of rows, so that a partial batch is neither padded nor traced again.

    Attributes:
        inputs: the name, type and shape of what a request holds of each side of the model.

    Raises:
        UserError: there is no such folder, no SavedModel in it, one that this library did not write or wrote before
            vectors had these signatures, or one that needs a package which is not installed.
    """

    def __init__(self, directory: str | os.PathLike[str], *, batch_size: int = 64):
        self.path = find_version(directory)
        self.metadata = read_metadata(self.path)
        self.batch_size = batch_size
        if self.metadata.get("tokenizer") == tf_text_tokenizer.NAME:
            tf_text_tokenizer.import_tf_text()
        try:
            self._loaded = tf.saved_model.load(str(self.path))
        except (OSError, ValueError, TypeError, KeyError, IndexError, tf.errors.OpError) as error:
            fault = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise UserError(f"Cannot load the SavedModel in {self.path}: {fault}; export or copy it again.") from error
        self.signatures: Mapping[str, Any] = self._loaded.signatures
        self.inputs = self._inputs()

    @property
    def similarity(self) -> Literal["cosine", "euclidean", "pairs"]:
        """By what the model scores."""
        return self.metadata.get("similarity", "cosine")

    def vector_score(self) -> Literal["cosine", "euclidean"]:
        """The same where an item is one vector; UserError where pairs are scored."""
        if self.similarity == "pairs":
            raise UserError(f"{self.path} scores pairs, which needs a packed gallery: export it with --gallery=test.")
        return self.similarity

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the weights, vocabulary, image size and similarity: equal ones give equal embeddings."""
        return str(self.metadata["fingerprint"])

    @property
    def embedding_dim(self) -> int:
        """d, the size of an embedding."""
        return int(self.metadata["embedding_dim"])

    @property
    def credit(self) -> str:
        """Attribution to be shown beside pictures of the data that the model was trained on; may be empty."""
        return str(self.metadata["credit"])

    def encode(self, side: str, rows: Rows) -> tuple[np.ndarray, np.ndarray]:
        """n rows of a side -> float32 (n, d), zeros where not `valid` bool (n,).

        Args:
            side: "image" or "text".
            rows: as `inputs` says: encoded image files, sentences, or a float32 array (n, ...).

        Raises:
            UserError: the model scores pairs, for which an item is no single vector; `signatures` give what it is.
        """
        self.vector_score()  # raises where pairs are scored
        parts = self._batched(f"encode_{side}", side, rows)
        return _joined(parts, "embedding", np.zeros((0, self.embedding_dim), np.float32)), _valid(parts, len(rows))

    def search(self, gallery: str, asked: str, rows: Rows, k: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The best of a packed gallery: ids (n, k) of str, scores float32 (n, k), best first, and `valid` bool (n,).

        Args:
            gallery: the side that is searched.
            asked: the side of the queries.
            rows: n queries, as for `encode`.
            k: results of each, cut to the size of the gallery.

        Raises:
            UserError: there is no such search in the model.
        """
        if not self.holds(gallery):
            raise UserError(f"{self.path} has no gallery of {gallery}s packed; export it with --gallery=test.")
        signature = f"{SEARCHES[gallery]}_by_{asked}_k"
        if signature not in self.signatures:
            raise UserError(f"{self.path} scores images with texts, so that {asked}s find no {gallery}s in it.")
        parts = self._batched(signature, asked, rows, k=tf.constant(k, tf.int32))
        ids = _joined(parts, "ids", np.zeros((0, k), object))
        scores = _joined(parts, "scores", np.zeros((0, k), np.float32))
        return np.vectorize(bytes.decode, otypes=[object])(ids), scores, _valid(parts, len(rows))

    def holds(self, gallery: str) -> bool:
        """Whether embeddings of that side are packed."""
        return any(name.startswith(f"{SEARCHES[gallery]}_by_") for name in self.signatures)

    def _inputs(self) -> dict[str, tf.TensorSpec]:
        encoders = {side: f"encode_{side}" for side in SEARCHES if f"encode_{side}" in self.signatures}
        if "image" not in encoders:
            raise UserError(f"{self.path} has the signatures of an older xmkeras; export it again.")
        specs = {side: input_specs(self.signatures[name]) for side, name in encoders.items()}
        return {side: next(iter(named.values())) for side, named in specs.items()}

    def _batched(self, signature: str, side: str, rows: Rows, **more: tf.Tensor) -> list[dict[str, np.ndarray]]:
        function, spec = self.signatures[signature], self.inputs[side]
        batches = (rows[start : start + self.batch_size] for start in range(0, len(rows), self.batch_size))
        answers = (function(**{spec.name: tf.constant(batch, spec.dtype)}, **more) for batch in batches)
        return [{key: value.numpy() for key, value in answer.items()} for answer in answers]


def find_version(directory: str | os.PathLike[str]) -> pathlib.Path:
    """The folder with `saved_model.pb` for a run directory, a `saved_model` folder or a version.

    Raises:
        UserError: there is no such folder, or no SavedModel in it.
    """
    given = pathlib.Path(directory).expanduser()
    if not given.is_dir():
        raise UserError(f"There is no folder {given}; give --model a run directory that was exported.")
    for folder in (given, given / "saved_model"):
        versions = sorted((path for path in folder.glob("*/saved_model.pb") if path.parent.name.isdigit()), key=_number)
        for file in (folder / "saved_model.pb", *reversed(versions)):
            if file.is_file():
                return file.parent
    raise UserError(f"{given} holds no SavedModel; write one with: python -m xmkeras.export --run={given}")


def read_metadata(version_dir: pathlib.Path) -> dict[str, Any]:
    """The description that `export_saved_model` left in a version's folder.

    Raises:
        UserError: it is missing or unreadable, so the model comes from elsewhere.
    """
    path = version_dir / METADATA_FILE
    try:
        metadata = json.loads(path.read_text("utf-8"))
        if missing := _NEEDED - metadata.keys():
            raise ValueError(f"without {', '.join(sorted(missing))}")
        return dict(metadata)
    except (OSError, ValueError, AttributeError) as error:
        raise UserError(
            f"{version_dir} is not a SavedModel of xmkeras (no readable {METADATA_FILE}); export it again."
        ) from error


def _number(file: pathlib.Path) -> int:
    return int(file.parent.name)


def _joined(parts: list[dict[str, np.ndarray]], name: str, empty: np.ndarray) -> np.ndarray:
    return np.concatenate([part[name] for part in parts]) if parts else empty


def _valid(parts: list[dict[str, np.ndarray]], rows: int) -> np.ndarray:
    """Which rows are valid: all of them where the signature does not say."""
    return _joined(parts, "valid", np.zeros(0, bool)) if parts and "valid" in parts[0] else np.ones(rows, bool)
