"""Searches for what is asked, and shows what was found on the screen and on a page."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

from xmkeras.errors import UserError
from xmkeras.retrieval import page
from xmkeras.serving.galleries import Gallery
from xmkeras.serving.queries import Queries, check_takes, read_queries


@dataclasses.dataclass(frozen=True)
class Found:
    """What one query found, best first.

    Attributes:
        query: what was asked for, see `Queries.names`.
        names: paths of the images found, or, in the model's own gallery, ids of images or sentences.
        scores: their scores with the query, float32 (k,).
        picture: whether the query is a picture.
        side: of what was found, "image" or "text".
    """

    query: str
    names: list[str]
    scores: np.ndarray
    picture: bool = False
    side: str = "image"


def find(gallery: Gallery, queries: Sequence[Queries], *, top: int = 10) -> list[Found]:
    """What each query finds, in order.

    Args:
        gallery: what to search.
        queries: what to ask, see `read_queries`.
        top: results of each query, 1 or more, cut to the size of the gallery.

    Raises:
        UserError: a picture cannot be decoded, or the gallery cannot be searched by such queries.
    """
    found = []
    for asked in queries:
        names, scores, valid = gallery.search(asked.side, asked.rows, top)
        for query, good in zip(asked.names, valid, strict=True):
            if not good:
                raise UserError(f"{query} is not an image that can be decoded; use PNG, JPEG, WebP, GIF or BMP.")
        found += [
            Found(*one, picture=asked.pictures, side=gallery.side)
            for one in zip(asked.names, names, scores, strict=True)
        ]
    return found


def format_found(found: Found) -> str:
    """A query and its results as lines for the screen."""
    width = len(str(len(found.names)))
    lines = [
        f"  {rank:>{width}}  {score:6.3f}  {name}"
        for rank, (name, score) in enumerate(zip(found.names, found.scores, strict=True), 1)
    ]
    return "\n".join([f"{found.side}s like {found.query}" if found.picture else found.query, *lines])


def converse(gallery: Gallery, *, top: int = 10, ask: Callable[[str], str] = input) -> list[Found]:
    """Asks for sentences and shows what each finds, until an empty line or the end of input."""
    check_takes(gallery.model, "text", "a sentence")
    found: list[Found] = []
    print("Type a sentence; an empty line ends.")
    while True:
        try:
            text = ask("> ").strip()
        except (EOFError, KeyboardInterrupt):
            text = ""
        if not text:
            return found
        found += find(gallery, read_queries(gallery.model, text=[text]), top=top)
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
