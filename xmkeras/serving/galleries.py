"""What can be searched: the images of a folder, embedded once into an index, or those packed into the model."""

from __future__ import annotations

import json
import pathlib
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import numpy as np

from xmkeras.errors import UserError
from xmkeras.serving.client import SearchModel
from xmkeras.serving.saved_model import GALLERY_FILES

SHOWN_FAULTS = 5


class Gallery(Protocol):
    """Images that can be searched."""

    credit: str

    def by_texts(self, texts: Sequence[str], k: int) -> tuple[list[list[str]], np.ndarray]:
        """Names and scores (n, k) of the best images for n sentences."""

    def by_images(self, encoded: Sequence[bytes], k: int) -> tuple[list[list[str]], np.ndarray, np.ndarray]:
        """The same for n encoded images, and which of them could be read, bool (n,)."""

    def path(self, name: str) -> str:
        """The image file of a name, or "" where it is not known."""


class FolderGallery:
    """The images below a folder, embedded by `model` as far as its index does not know them yet.

    Raises:
        UserError: there is no such folder, or no image in it that can be read.
    """

    credit = ""

    def __init__(self, model: SearchModel, folder: str, cache: str, say: Callable[[str], None]):
        from xmkeras.retrieval.index import ImageIndex

        self._model = model
        self._index = ImageIndex.open_or_update(
            pathlib.Path(folder).expanduser(),
            pathlib.Path(cache or "~/.cache/xmkeras/index").expanduser(),
            model.encode_images,
            model.fingerprint,
            batch=model.batch_size,
            progress=lambda done, total: say(f"Embedding {folder}: {done} of {total} images"),
        )
        for fault in self._index.broken[:SHOWN_FAULTS]:
            say(f"Left out: {fault}")
        if len(self._index.broken) > SHOWN_FAULTS:
            say(f"Left out: {len(self._index.broken) - SHOWN_FAULTS} more images that cannot be read")

    def by_texts(self, texts: Sequence[str], k: int) -> tuple[list[list[str]], np.ndarray]:
        return self._index.search(self._model.encode_texts(texts), k)

    def by_images(self, encoded: Sequence[bytes], k: int) -> tuple[list[list[str]], np.ndarray, np.ndarray]:
        vectors, valid = self._model.encode_images(encoded)
        return (*self._index.search(vectors, k), valid)

    def path(self, name: str) -> str:
        return name


class PackedGallery:
    """The images that the export put into the model, asked for by the name of their split or as "packed".

    Raises:
        UserError: the model holds no gallery, or that of another split.
    """

    def __init__(self, model: SearchModel, split: str):
        held = model.metadata["gallery"]
        if held is None:
            raise UserError(f"{model.path} has no gallery packed; export it with --gallery={split}, or give --images.")
        if split not in ("packed", held["split"]):
            raise UserError(f"{model.path} holds the gallery {held['split']!r}, not {split!r}; export it again.")
        self._model = model
        self._files = _gallery_files(model.path)
        self.credit = model.credit

    def by_texts(self, texts: Sequence[str], k: int) -> tuple[list[list[str]], np.ndarray]:
        ids, scores = self._model.search_by_texts(texts, k)
        return ids.tolist(), scores

    def by_images(self, encoded: Sequence[bytes], k: int) -> tuple[list[list[str]], np.ndarray, np.ndarray]:
        ids, scores, valid = self._model.search_by_images(encoded, k)
        return ids.tolist(), scores, valid

    def path(self, name: str) -> str:
        return self._files.get(name, "")


def open_gallery(
    model: SearchModel,
    *,
    images: str = "",
    gallery: str = "",
    cache: str = "",
    say: Callable[[str], None] | None = None,
) -> Gallery:
    """The images to search: those of the folder `images`, or the packed `gallery`.

    Args:
        model: embeds the images and the queries.
        images: a folder; its subfolders are searched too.
        gallery: "packed", or the name of the split that the export packed.
        cache: where indexes of folders are kept; empty: ~/.cache/xmkeras/index.
        say: gets a line of progress at a time; by default it is written to standard error.

    Raises:
        UserError: both are given, or neither where nothing is packed either; what is given does not exist.
    """
    if images and gallery:
        raise UserError("Search either a folder, --images=FOLDER, or the packed gallery, --gallery=packed; not both.")
    if images:
        return FolderGallery(model, images, cache, say or _to_stderr)
    if not gallery and model.metadata["gallery"] is None:
        raise UserError("Say what to search: --images=FOLDER, or --gallery=packed with a model that has one.")
    return PackedGallery(model, gallery or "packed")


def _gallery_files(version_dir: pathlib.Path) -> Mapping[str, str]:
    """Image files of the packed gallery by id, where the run that was exported still has their list."""
    try:
        files: dict[str, str] = json.loads((version_dir.parent.parent / GALLERY_FILES).read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return files


def _to_stderr(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
