"""An exported model as a Python object: image files and sentences in, numpy arrays out."""

from __future__ import annotations

import json
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from xmkeras.errors import UserError
from xmkeras.serving import tf_text_tokenizer
from xmkeras.serving.saved_model import METADATA_FILE


class SearchModel:
    """A SavedModel of this library, loaded in this process.

    Args:
        directory: a run directory, its `saved_model` folder, or a version inside that; where several versions
            lie beside each other, the highest number is taken, as TensorFlow Serving does.
        batch_size: rows sent to the graph at once. Longer inputs go through in batches; the signatures take
            any number of rows, so that a partial batch is neither padded nor traced again.

    Raises:
        UserError: there is no such folder, no SavedModel in it, one that this library did not write, or one that needs
            a package which is not installed.
    """

    def __init__(self, directory: str | os.PathLike[str], *, batch_size: int = 64):
        self.path = find_version(directory)
        self.metadata = read_metadata(self.path)
        self.batch_size = batch_size
        if self.metadata.get("tokenizer") == tf_text_tokenizer.NAME:
            tf_text_tokenizer.import_tf_text()
        try:
            self._loaded = tf.saved_model.load(str(self.path))
        except (OSError, ValueError, tf.errors.OpError) as error:
            raise UserError(f"Cannot load the SavedModel in {self.path}: {error}; export it again.") from error
        self.signatures: Mapping[str, Any] = self._loaded.signatures

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the weights, vocabulary and image size: equal fingerprints give equal embeddings."""
        return str(self.metadata["fingerprint"])

    @property
    def embedding_dim(self) -> int:
        """d, the size of an embedding."""
        return int(self.metadata["embedding_dim"])

    @property
    def credit(self) -> str:
        """Attribution to be shown beside pictures of the data that the model was trained on; may be empty."""
        return str(self.metadata["credit"])

    def encode_images(self, encoded: Sequence[bytes]) -> tuple[np.ndarray, np.ndarray]:
        """Encoded image files (n) -> unit vectors float32 (n, d), zeros where not `valid` bool (n,)."""
        parts = self._batched("encode_image", image_bytes=encoded)
        return _joined(parts, "embedding", self._no_vectors()), _joined(parts, "valid", np.zeros(0, bool))

    def encode_texts(self, texts: Sequence[str]) -> np.ndarray:
        """Sentences (n) -> unit vectors float32 (n, d)."""
        return _joined(self._batched("encode_text", text=texts), "embedding", self._no_vectors())

    def search_by_texts(self, texts: Sequence[str], k: int) -> tuple[np.ndarray, np.ndarray]:
        """The best images of the packed gallery: ids (n, k) of str and scores float32 (n, k), best first.

        `k` is cut to the gallery's size.

        Raises:
            UserError: no gallery was packed into the model.
        """
        return _found(self._batched("search_by_text_k", k=k, text=texts), k)

    def search_by_images(self, encoded: Sequence[bytes], k: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """As `search_by_texts` for encoded image files; also `valid` bool (n,)."""
        parts = self._batched("search_by_image_k", k=k, image_bytes=encoded)
        return (*_found(parts, k), _joined(parts, "valid", np.zeros(0, bool)))

    def _batched(self, signature: str, k: int | None = None, **inputs: Sequence[Any]) -> list[dict[str, np.ndarray]]:
        if signature not in self.signatures:
            raise UserError(f"{self.path} has no gallery packed; export it with --gallery=test, or search a folder.")
        function = self.signatures[signature]
        more = {} if k is None else {"k": tf.constant(k, tf.int32)}
        [(name, rows)] = inputs.items()
        batches = (rows[start : start + self.batch_size] for start in range(0, len(rows), self.batch_size))
        answers = (function(**{name: tf.constant(list(batch), tf.string)}, **more) for batch in batches)
        return [{key: value.numpy() for key, value in answer.items()} for answer in answers]

    def _no_vectors(self) -> np.ndarray:
        return np.zeros((0, self.embedding_dim), np.float32)


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
        return json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(
            f"{version_dir} is not a SavedModel of xmkeras (no readable {METADATA_FILE}); export it again."
        ) from error


def _number(file: pathlib.Path) -> int:
    return int(file.parent.name)


def _joined(parts: list[dict[str, np.ndarray]], name: str, empty: np.ndarray) -> np.ndarray:
    return np.concatenate([part[name] for part in parts]) if parts else empty


def _found(parts: list[dict[str, np.ndarray]], k: int) -> tuple[np.ndarray, np.ndarray]:
    ids = _joined(parts, "ids", np.zeros((0, k), object))
    scores = _joined(parts, "scores", np.zeros((0, k), np.float32))
    return np.vectorize(bytes.decode, otypes=[object])(ids), scores
