"""Searches for sentences and pictures, and shows what was found on the screen and on a page."""

from __future__ import annotations

import dataclasses
import os
import pathlib
from collections.abc import Callable, Sequence

import numpy as np

from xmkeras.errors import UserError
from xmkeras.retrieval import page
from xmkeras.serving.galleries import Gallery, open_gallery

__all__ = ["Found", "Gallery", "converse", "find", "format_found", "open_gallery", "write_page"]


@dataclasses.dataclass(frozen=True)
class Found:
    """What one query found, best first.

    Attributes:
        query: the sentence, or the path of the picture, that was asked for.
        names: paths of the images found (their ids, where the model's own gallery was searched).
        scores: their cosines with the query, float32 (k,).
        picture: whether the query is a picture.
    """

    query: str
    names: list[str]
    scores: np.ndarray
    picture: bool = False


def find(gallery: Gallery, *, texts: Sequence[str] = (), images: Sequence[str] = (), top: int = 10) -> list[Found]:
    """Searches for sentences first, then for the pictures in the files `images`.

    Args:
        gallery: what to search.
        texts: sentences.
        images: paths of image files.
        top: results of each query, cut to the size of the gallery.

    Raises:
        UserError: `top` is below 1, or a picture cannot be read.
    """
    if top < 1:
        raise UserError(f"--top={top} shows nothing; use 1 or more.")
    found = []
    if texts:
        names, scores = gallery.by_texts(texts, top)
        found += [Found(*one) for one in zip(texts, names, scores, strict=True)]
    if images:
        names, scores, valid = gallery.by_images([_read(path) for path in images], top)
        for path, good in zip(images, valid, strict=True):
            if not good:
                raise UserError(f"{path} is not an image that can be decoded; use PNG, JPEG, WebP, GIF or BMP.")
        found += [Found(*one, picture=True) for one in zip(images, names, scores, strict=True)]
    return found


def format_found(found: Found) -> str:
    """A query and its results as lines for the screen."""
    width = len(str(len(found.names)))
    lines = [
        f"  {rank:>{width}}  {score:6.3f}  {name}"
        for rank, (name, score) in enumerate(zip(found.names, found.scores, strict=True), 1)
    ]
    return "\n".join([f"images like {found.query}" if found.picture else found.query, *lines])


def converse(gallery: Gallery, *, top: int = 10, ask: Callable[[str], str] = input) -> list[Found]:
    """Asks for sentences and shows what each finds, until an empty line or the end of input."""
    found: list[Found] = []
    print("Type a sentence; an empty line ends.")
    while True:
        try:
            text = ask("> ").strip()
        except (EOFError, KeyboardInterrupt):
            text = ""
        if not text:
            return found
        found += find(gallery, texts=[text], top=top)
        print(format_found(found[-1]))


def write_page(path: str, found: Sequence[Found], gallery: Gallery, *, credit: str = "") -> None:
    """Writes a web page with a section for each query.

    Args:
        path: the HTML file.
        found: what the queries found in `gallery`.
        gallery: knows the image files of the names.
        credit: attribution of the pictures; by default that of the gallery.

    Raises:
        UserError: the page cannot be written.
    """
    blank = page.pixels_source(np.full((1, 1, 3), 255, np.uint8))

    def source(file: str) -> str:
        return page.file_source(file, path) if file else blank

    def hit(name: str, score: float) -> page.Hit:
        return page.Hit(name, float(score), source(gallery.path(name)))

    searches = [
        page.Search(
            one.query,
            [hit(*pair) for pair in zip(one.names, one.scores, strict=True)],
            source(one.query) if one.picture else "",
        )
        for one in found
    ]
    page.write_search_page(path, searches, credit=credit or gallery.credit)


def _read(path: str) -> bytes:
    try:
        return pathlib.Path(path).expanduser().read_bytes()
    except OSError as error:
        raise UserError(f"Cannot read the image {os.fspath(path)}: {error.strerror}.") from error
