"""Writes a SavedModel that TensorFlow alone can load, with warm-up requests and a description beside it."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import pathlib
import shutil
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import tensorflow as tf

import xmkeras
from xmkeras.data import images
from xmkeras.data.wordpiece import WordPieceTokenizer
from xmkeras.errors import UserError
from xmkeras.files import write_atomically
from xmkeras.serving import tf_text_tokenizer, warmup
from xmkeras.serving.signatures import SearchSignatures, Signatures, input_specs

if TYPE_CHECKING:
    from xmkeras.models.towers import Towers
    from xmkeras.retrieval.embeddings import EmbeddingSet

METADATA_FILE = "assets.extra/xmkeras.json"
GALLERY_FILES = "gallery_files.json"  # Beside saved_model/, which holds no path of this machine.
VERSION = "1"


class Exportable(Protocol):
    """A tf.Module whose functions become signatures."""

    weights: dict[str, tf.Variable]

    @property
    def identity(self) -> tuple[Any, ...]: ...

    def functions(self) -> dict[str, Any]: ...


def export_saved_model(
    towers: Towers,
    directory: str | os.PathLike[str],
    *,
    image_size: tuple[int, int],
    embedding_dim: int,
    gallery: EmbeddingSet | None = None,
    gallery_split: str = "",
    gallery_files: Mapping[str, str] | None = None,
    top_k: int = 10,
    max_pixels: int = images.MAX_PIXELS,
    credit: str = "",
    tokenizer: str = "core",
) -> pathlib.Path:
    """Writes `directory/saved_model/1`, or leaves what was there untouched.

    Every weight is stored once, as it was trained, and the graph holds core TensorFlow operations only, unless
    `tokenizer` asks for others.

    Args:
        towers: the trained towers; tracing runs them in inference mode.
        directory: a run directory; made if it does not exist.
        image_size: height and width that the image tower takes, in pixels.
        embedding_dim: d, the size of an embedding; written into the description.
        gallery: embeddings of the images that `search_by_*` look through; None leaves these signatures out.
        gallery_split: the name of the gallery's split; written into the description.
        gallery_files: the image file of each id of the gallery, for pages of what was found; written to
            `directory/gallery_files.json`. Ids may be missing.
        top_k: results of `search_by_text` and `search_by_image`.
        max_pixels: images that declare more pixels are invalid.
        credit: attribution of the data, shown wherever its pictures are.
        tokenizer: "core", or "tf_text" for `xmkeras.serving.tf_text_tokenizer` in place of a BERT's.

    Returns:
        The folder of the version.

    Raises:
        UserError: `top_k` is below 1, the gallery is empty or its vectors have another size than the
            embedding, the tokenizer cannot be had, or the disk is full.
    """
    _check(gallery, embedding_dim, top_k)
    options: dict[str, Any] = {"image_size": image_size, "max_pixels": max_pixels}
    options["tokenizer"] = _tokenizer(towers, tokenizer)
    target = pathlib.Path(directory) / "saved_model" / VERSION
    if gallery is None:
        module = Signatures(towers, **options)
    else:
        module = SearchSignatures(towers, gallery=gallery, top_k=top_k, **options)
    about = {
        "image_size": list(image_size),
        "embedding_dim": embedding_dim,
        "max_pixels": max_pixels,
        "tokenizer": tokenizer,
        "gallery": None if gallery is None else _describe(gallery, gallery_split, top_k),
        "credit": credit,
    }
    write_version(target, module, about, image_size=image_size)
    _write_gallery_files(target.parent.parent / GALLERY_FILES, gallery, gallery_files or {})
    return target


def write_version(
    target: pathlib.Path,
    module: Exportable,
    about: Mapping[str, Any],
    *,
    image_size: tuple[int, int] = (32, 32),
) -> None:
    """Writes a module with its warm-up requests and its description to the folder `target`, whole or not at all.

    Args:
        target: the folder of the version.
        module: what is saved; each of its functions becomes a signature.
        about: goes into the description, with versions, fingerprint and signatures.
        image_size: of the pictures in the warm-up requests.

    Raises:
        UserError: the disk is full.
    """
    with _written_whole(target) as folder:
        functions = {name: function.get_concrete_function() for name, function in module.functions().items()}
        tf.saved_model.save(module, str(folder), signatures=functions)
        warmup.write_warmup(folder, functions, image_size)
        description = {
            "format": 1,
            "xmkeras": xmkeras.__version__,
            "tensorflow": tf.__version__,
            "fingerprint": fingerprint(module),
            **about,
            "signatures": {name: _ends(function) for name, function in functions.items()},
        }
        (folder / METADATA_FILE).write_text(json.dumps(description, indent=2, ensure_ascii=False) + "\n", "utf-8")


def fingerprint(module: Exportable) -> str:
    """SHA-256, in hex, of all that decides an embedding: weights, vocabulary, image size."""
    digest = hashlib.sha256(repr(module.identity).encode())
    for name, weight in sorted(module.weights.items()):
        value = np.ascontiguousarray(weight.numpy())
        digest.update(f"{name} {value.dtype} {value.shape}".encode())
        digest.update(value.tobytes())
    return digest.hexdigest()


def _check(gallery: EmbeddingSet | None, embedding_dim: int, top_k: int) -> None:
    if top_k < 1:
        raise UserError(f"A search returns at least one image, so top_k={top_k} is too small; use 1 or more.")
    if gallery is None:
        return
    rows, size = gallery.vectors.shape
    if not rows:
        raise UserError("The gallery to be packed holds no image; choose a split that has some.")
    if size != embedding_dim:
        raise UserError(f"The gallery's vectors have {size} numbers and the model's {embedding_dim}; embed it anew.")


def _tokenizer(towers: Towers, name: str) -> Any:
    if name != tf_text_tokenizer.NAME:
        return towers.tokenizer
    if not isinstance(towers.tokenizer, WordPieceTokenizer):
        raise UserError(
            f"--export_tokenizer={name} is for a text tower with BERT, and this one reads words; leave the flag away."
        )
    return tf_text_tokenizer.TfTextTokenizer(towers.tokenizer)


def _write_gallery_files(path: pathlib.Path, gallery: EmbeddingSet | None, files: Mapping[str, str]) -> None:
    names = [] if gallery is None else [str(name) for name in gallery.ids]
    kept = {name: os.path.abspath(files[name]) for name in names if name in files}
    if kept:
        write_atomically(path, json.dumps(kept, ensure_ascii=False).encode())
    else:
        path.unlink(missing_ok=True)


def _describe(gallery: EmbeddingSet, split: str, top_k: int) -> dict[str, Any]:
    return {"split": split, "images": len(gallery.ids), "top_k": min(top_k, len(gallery.ids))}


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
