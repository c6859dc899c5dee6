"""Writes a SavedModel that TensorFlow alone can load, with warm-up requests and a description beside it."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import pathlib
import shutil
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

import xmkeras
from xmkeras.errors import UserError
from xmkeras.files import write_atomically
from xmkeras.serving import warmup
from xmkeras.serving.signatures import Signatures, input_specs

if TYPE_CHECKING:
    import keras

    from xmkeras.models.encoder import Towers
    from xmkeras.retrieval.embeddings import EmbeddingSet
    from xmkeras.serving.inputs import Input
    from xmkeras.serving.scoring import PairScore

METADATA_FILE = "assets.extra/xmkeras.json"
GALLERY_FILES = "gallery_files.json"  # Beside saved_model/, which holds no path of this machine.
VERSION = "1"


def export_saved_model(
    towers: Towers,
    directory: str | os.PathLike[str],
    *,
    inputs: Mapping[str, Input],
    similarity: str = "cosine",
    score: PairScore | None = None,
    heads: Mapping[str, keras.layers.Layer] | None = None,
    galleries: Mapping[str, EmbeddingSet] | None = None,
    gallery_split: str = "",
    gallery_files: Mapping[str, str] | None = None,
    top_k: int = 10,
    rerank: int = 0,
    credit: str = "",
    doubt: str = "",
) -> pathlib.Path:
    """Writes `directory/saved_model/1`, or leaves what was there untouched.

    Every weight of the towers is stored once, and the graph holds core TensorFlow operations only, unless an
    input asks for others.

    Args:
        towers: the trained towers; tracing runs them in inference mode.
        directory: a run directory; made if it does not exist.
        inputs: what a request holds of each side.
        similarity: "cosine", "euclidean" or "pairs": by what is scored and searched.
        score: the method's own, needed for "pairs", see `xmkeras.method.Method.score`.
        heads: the layers that `score` uses beside the towers, by name.
        galleries: the embeddings of a side that searches look through, by side; a side without leaves its searches
            out. The ids of texts are the sentences themselves.
        gallery_split: the name of the galleries' split; written into the description.
        gallery_files: the image file of each id of the images, for pages of what was found; written to
            `directory/gallery_files.json`. Ids may be missing.
        top_k: results of the searches that have no input `k`.
        rerank: with "pairs", how many items of a larger gallery a search scores; 0: all.
        credit: attribution of the data, shown wherever its pictures are.
        doubt: what whoever searches with the model has to be told of it; "" for nothing.

    Returns:
        The folder of the version.

    Raises:
        UserError: `top_k` is below 1, a gallery is empty or its vectors have another size than the embedding, or the
            disk is full.
    """
    if top_k < 1:
        raise UserError(f"A search returns at least one item, so top_k={top_k} is too small; use 1 or more.")
    galleries = galleries or {}
    module = Signatures(
        towers,
        inputs,
        similarity=similarity,
        score=score,
        heads=heads,
        galleries=galleries,
        top_k=top_k,
        rerank=rerank,
    )
    target = pathlib.Path(directory) / "saved_model" / VERSION
    about = {
        **{key: value for given in module.inputs.values() for key, value in given.describe().items()},
        "inputs": {side: given.spec.name for side, given in module.inputs.items()},
        "embedding_dim": towers.embedding_dim,
        "similarity": similarity,
        "gallery": _describe(galleries, gallery_split, top_k),
        "credit": credit,
        "doubt": doubt,
    }
    with _written_whole(target) as folder:
        _write(folder, module, about)
    _write_gallery_files(target.parent.parent / GALLERY_FILES, galleries.get("image"), gallery_files or {})
    return target


def _write(folder: pathlib.Path, module: Signatures, about: Mapping[str, Any]) -> None:
    """The module with its warm-up requests and its description."""
    functions = module.functions()
    tf.saved_model.save(module, str(folder), signatures=functions)
    warmup.write_warmup(folder, functions, {given.spec.name: given.examples() for given in module.inputs.values()})
    description = {
        "format": 1,
        "xmkeras": xmkeras.__version__,
        "tensorflow": tf.__version__,
        "fingerprint": fingerprint(module),
        **about,
        "signatures": {name: _ends(function) for name, function in functions.items()},
    }
    (folder / METADATA_FILE).write_text(json.dumps(description, indent=2, ensure_ascii=False) + "\n", "utf-8")


def fingerprint(module: Signatures) -> str:
    """SHA-256, in hex, of all that decides an embedding: weights, vocabulary, image size, similarity."""
    digest = hashlib.sha256(repr(module.identity).encode())
    for name, weight in sorted(module.weights.items()):
        value = np.ascontiguousarray(weight.numpy())
        digest.update(f"{name} {value.dtype} {value.shape}".encode())
        digest.update(value.tobytes())
    return digest.hexdigest()


def _write_gallery_files(path: pathlib.Path, gallery: EmbeddingSet | None, files: Mapping[str, str]) -> None:
    names = [] if gallery is None else [str(name) for name in gallery.ids]
    kept = {name: os.path.abspath(files[name]) for name in names if name in files}
    if kept:
        write_atomically(path, json.dumps(kept, ensure_ascii=False).encode())
    else:
        path.unlink(missing_ok=True)


def _describe(galleries: Mapping[str, EmbeddingSet], split: str, top_k: int) -> dict[str, Any] | None:
    if not galleries:
        return None
    sizes = {f"{side}s": len(items) for side, items in galleries.items()}
    return {"split": split, **sizes, "top_k": min(top_k, *sizes.values())}


def _ends(function: tf.types.experimental.ConcreteFunction) -> dict[str, Mapping[str, str]]:
    """Names, types and shapes of a signature's inputs and outputs, for people and clients."""
    inputs, outputs = input_specs(function), function.structured_outputs
    return {
        "inputs": {name: f"{spec.dtype.name} {spec.shape}" for name, spec in inputs.items()},
        "outputs": {name: f"{spec.dtype.name} {spec.shape}" for name, spec in outputs.items()},
    }


@contextlib.contextmanager
def _written_whole(target: pathlib.Path) -> Iterator[pathlib.Path]:
    """Yields an empty folder beside `target` that takes its place on success and vanishes on failure."""
    # TensorFlow Serving looks at folders with a number for a name only, so it never sees the unfinished one.
    partial, old = (target.with_name(f".{target.name}.{end}.{os.getpid()}") for end in ("partial", "old"))
    try:
        partial.mkdir(parents=True)
        yield partial
        if target.exists():
            target.rename(old)
        try:
            partial.rename(target)
        except OSError:
            if old.exists():
                old.rename(target)
            raise
    except (OSError, tf.errors.ResourceExhaustedError, tf.errors.PermissionDeniedError) as error:
        raise UserError(
            f"Cannot write the SavedModel {target}: {error}; free space or choose another folder."
        ) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)
