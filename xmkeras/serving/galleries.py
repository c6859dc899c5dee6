"""What can be searched: the images of a folder, embedded once into an index, or what is packed into the model."""

from __future__ import annotations

import functools
import json
import pathlib
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import numpy as np

from xmkeras.errors import UserError
from xmkeras.retrieval import verdict
from xmkeras.retrieval.scores import scorer_of
from xmkeras.serving.client import Rows, SearchModel
from xmkeras.serving.queries import check_takes
from xmkeras.serving.saved_model import GALLERY_FILES

PACKED = "packed"
SHOWN_FAULTS = 5


class Gallery(Protocol):
    """What can be searched.

    Attributes:
        model: embeds the queries.
        side: of the items, "image" or "text".
        credit: attribution of the pictures; may be empty.
    """

    model: SearchModel
    side: str
    credit: str

    def search(self, asked: str, rows: Rows, k: int) -> tuple[list[list[str]], np.ndarray, np.ndarray]:
        """Names and scores (n, k) of the best items for n queries of a side, and which of these are valid, (n,)."""

    def path(self, name: str) -> str:
        """The image file of a name, or "" where it is not known."""


class FolderGallery:
    """The images below a folder, embedded by `model` as far as its index does not know them yet.

    Raises:
        UserError: there is no such folder, no image in it that can be read, or the model embeds no image files.
    """

    side = "image"
    credit = ""

    def __init__(self, model: SearchModel, folder: str, cache: str, say: Callable[[str], None]):
        from xmkeras.retrieval.index import ImageIndex

        check_takes(model, "image", f"--images={folder}")
        self.model = model
        self._index = ImageIndex.open_or_update(
            pathlib.Path(folder).expanduser(),
            pathlib.Path(cache or "~/.cache/xmkeras/index").expanduser(),
            functools.partial(model.encode, "image"),
            model.fingerprint,
            score=model.vector_score(),
            batch=model.batch_size,
        )
        for note in self._index.notes:
            say(note)
        if doubt := verdict.all_alike("image", self._index.vectors, self._index.score):
            say(doubt)
        for fault in self._index.broken[:SHOWN_FAULTS]:
            say(f"Left out: {fault}")
        if len(self._index.broken) > SHOWN_FAULTS:
            say(f"Left out: {len(self._index.broken) - SHOWN_FAULTS} more images that cannot be read")

    def search(self, asked: str, rows: Rows, k: int) -> tuple[list[list[str]], np.ndarray, np.ndarray]:
        vectors, valid = self.model.encode(asked, rows)
        return (*self._index.search(vectors, k), valid)

    def path(self, name: str) -> str:
        return name


class ModelGallery:
    """The images or sentences that the export put into the model, by the name of their split or as "packed".

    Raises:
        UserError: the model holds none, or those of another split.
    """

    def __init__(self, model: SearchModel, side: str, split: str):
        if not model.holds(side):
            wanted = "test" if split == PACKED else split
            folder = ", or search a folder with --images" if side == "image" else ""
            raise UserError(f"{model.path} has no {side}s packed; export it with --gallery={wanted}{folder}.")
        held = model.metadata["gallery"]["split"]
        if split not in (PACKED, held):
            raise UserError(f"{model.path} holds the gallery {held!r}, not {split!r}; export it again.")
        self.model, self.side, self.credit = model, side, model.credit
        self._files = _gallery_files(model.path)

    def search(self, asked: str, rows: Rows, k: int) -> tuple[list[list[str]], np.ndarray, np.ndarray]:
        ids, scores, valid = self.model.search(self.side, asked, rows, k)
        return ids.tolist(), scores, valid

    def path(self, name: str) -> str:
        return self._files.get(name, "")


class SentenceGallery:
    """Sentences that are given, embedded at once: labels to tell pictures apart that nothing was trained to tell.

    Args:
        model: embeds the sentences and the queries.
        sentences: distinct ones, at least one, none blank.

    Raises:
        UserError: the model takes no sentences, scores pairs, or a sentence is blank.
    """

    side = "text"
    credit = ""

    def __init__(self, model: SearchModel, sentences: Sequence[str]):
        check_takes(model, "text", f"--labels={','.join(sentences)}")
        self.model, self._sentences = model, list(dict.fromkeys(sentences))
        if not all(sentence.strip() for sentence in self._sentences):
            raise UserError("A label is blank; give names with commas, --labels=cat,dog.")
        score = scorer_of(model.vector_score())
        self._score = lambda one, two: score.shown(score.exact(score.prepare(one), score.prepare(two)))
        self._vectors, _ = model.encode("text", self._sentences)

    def search(self, asked: str, rows: Rows, k: int) -> tuple[list[list[str]], np.ndarray, np.ndarray]:
        vectors, valid = self.model.encode(asked, rows)
        scores = self._score(vectors, self._vectors)
        best = np.argsort(-scores, axis=1, kind="stable")[:, :k]
        names = [[self._sentences[place] for place in row] for row in best]
        return names, np.take_along_axis(scores, best, axis=1), valid

    def path(self, name: str) -> str:
        return ""


def read_labels(given: str) -> list[str]:
    """Names with commas, or the lines of a text file of that name.

    Raises:
        UserError: the file is no text, or holds nothing.
    """
    path = pathlib.Path(given).expanduser()
    if not path.is_file():
        return [name.strip() for name in given.split(",")]
    try:
        lines = [line.strip() for line in path.read_text("utf-8-sig").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"--labels={given} cannot be read as text ({error}); give a file of a label a line.") from error
    if not any(lines):
        raise UserError(f"--labels={given} is an empty file; give a label a line.")
    return [line for line in lines if line]


def open_gallery(
    model: SearchModel,
    *,
    images: str = "",
    gallery: str = "",
    side: str = "image",
    cache: str = "",
    say: Callable[[str], None] | None = None,
) -> Gallery:
    """What to search: the folder `images`, or the packed `gallery`.

    Args:
        model: embeds the images and the queries.
        images: a folder; its subfolders are searched too.
        gallery: "packed", or the name of the split that the export packed.
        side: "image", or "text" for the packed sentences.
        cache: where indexes of folders are kept; empty: ~/.cache/xmkeras/index.
        say: gets notes and faults, a line each; by default they are written to standard error.

    Raises:
        UserError: both are given, or neither where nothing is packed either; what is given does not exist.
    """
    if not images:
        return ModelGallery(model, side, gallery or PACKED)
    if gallery:
        raise UserError("Search either a folder, --images=FOLDER, or the packed gallery, --gallery=packed; not both.")
    if side != FolderGallery.side:
        raise UserError(f"--images={images} holds no {side}s; search those packed in the model with --gallery=packed.")
    return FolderGallery(model, images, cache, say or _to_stderr)


def _gallery_files(version_dir: pathlib.Path) -> Mapping[str, str]:
    """Image files of the packed gallery by id, where the run that was exported still has their list."""
    try:
        files: dict[str, str] = json.loads((version_dir.parent.parent / GALLERY_FILES).read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return files


def _to_stderr(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
