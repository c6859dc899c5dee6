"""Pictures of queries with what they found: right answers framed in green, wrong ones in red."""

import re
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

from xmkeras.retrieval.embeddings import EmbeddingSet
from xmkeras.retrieval.plots import INK, LINE, MUTED, PAPER, RIGHT, WRONG, figure_pixels, new_figure
from xmkeras.retrieval.ranking import top_k
from xmkeras.retrieval.scores import Score, turned

Thumbnail = Callable[[str], np.ndarray]


@dataclass(frozen=True)
class Found:
    """One query and its answers, all of them numbers of items in their sets.

    query: its place; rank: 0-based rank of the best right answer; answers: (k,) the first k, best first;
    scores and
    right: (k,) their scores and whether they are right; wanted: the best right answer, for when it is not
    among them.
    """

    query: int
    rank: int
    answers: np.ndarray
    scores: np.ndarray
    right: np.ndarray
    wanted: int


def choose_queries(ranks: np.ndarray, asked: np.ndarray, count: int, *, seed: int = 0) -> dict[str, np.ndarray]:
    """`count` queries each of the best, the typical (nearest to the median) and the worst; none twice.

    ranks: (q,) 0-based; asked: (q,) bool, which queries have an answer. Equal ranks are drawn by lot from
    `seed`.
    """
    places = np.random.default_rng(seed).permutation(np.flatnonzero(asked))
    left = places[np.argsort(ranks[places], kind="stable")]
    chosen = {"best": left[:count]}
    left = left[count:]
    chosen["worst"] = left[max(0, len(left) - count) :][::-1]
    left = left[: max(0, len(left) - count)]
    middle = np.argsort(np.abs(ranks[left] - np.median(ranks[places])), kind="stable")[:count]
    chosen["typical"] = left[np.sort(middle)]
    return {name: chosen[name] for name in ("best", "typical", "worst")}


def answer(
    queries: EmbeddingSet,
    gallery: EmbeddingSet,
    places: np.ndarray,
    ranks: np.ndarray,
    *,
    k: int,
    relevance: str = "id",
    score: Score = None,
) -> list[Found]:
    """The first k answers of the queries at `places`; `relevance` as in `protocols`, `score` of queries."""
    asked = np.asarray(queries.vectors[places])
    indices, scores = top_k(asked, gallery.vectors, k, score=score)
    keys, gallery_keys = (queries.ids, gallery.ids) if relevance == "id" else (queries.labels, gallery.labels)
    found = []
    for row, place in enumerate(places):
        relevant = np.flatnonzero(gallery_keys == keys[place])
        best = top_k(asked[row : row + 1], gallery.vectors[relevant], 1, score=score)[0][0, 0]
        right = np.isin(indices[row], relevant)
        found.append(Found(int(place), int(ranks[place]), indices[row], scores[row], right, int(relevant[best])))
    return found


class _Sheet:
    """A figure measured in inches from its upper left corner."""

    def __init__(self, width: float, height: float) -> None:
        self.width, self.height = width, height
        self.figure = new_figure(width, height)

    def text(self, x: float, y: float, words: str, **style: object) -> None:
        style = {"color": INK, "fontsize": 10, "va": "top", "ha": "left", **style}
        # Captions are words, not formulas: a dollar sign stays one.
        self.figure.text(x / self.width, 1 - y / self.height, words, parse_math=False, **style)  # type: ignore[arg-type]

    def picture(self, x: float, y: float, side: float, pixels: np.ndarray, frame: str, thick: float) -> None:
        """A framed square with a whole picture in it."""
        box = (x / self.width, 1 - (y + side) / self.height, side / self.width, side / self.height)
        axes = self.figure.add_axes(box, xticks=[], yticks=[], facecolor=PAPER)
        high, wide = pixels.shape[:2]
        half = max(high, wide) / 2
        axes.imshow(pixels, interpolation="antialiased")
        axes.set(xlim=(wide / 2 - half, wide / 2 + half), ylim=(high / 2 + half, high / 2 - half))
        axes.spines[:].set(color=frame, linewidth=thick)

    def rule(self, y: float, x: float = 0.0) -> None:
        line = 1 - y / self.height
        self.figure.add_artist(
            FancyBboxPatch(
                (x / self.width, line),
                1 - 2 * x / self.width,
                0,
                boxstyle="square,pad=0",
                ec=LINE,
                lw=0.8,
                transform=self.figure.transFigure,
            )
        )


_MARGIN, _QUERY, _CELL, _GAP, _HEAD, _LINE = 0.25, 2.6, 1.25, 0.16, 0.42, 0.235


def text_query_figure(
    sections: Mapping[str, Sequence[Found]],
    captions: Sequence[str],
    image_ids: np.ndarray,
    thumbnail: Thumbnail,
    *,
    credit: str = "",
) -> Figure:
    """Rows of a caption and the images it found; a right image further down stands at the end of its row."""
    everything = [found for rows in sections.values() for found in rows]
    k = max((len(found.answers) for found in everything), default=1)
    missed = any(not found.right.any() for found in everything)
    row, step = _CELL + 0.45, _CELL + _GAP
    sheet = _Sheet(2 * _MARGIN + _QUERY + (k + missed) * step, _height(sections, row, credit))
    for y, found in _layout(sheet, sections, row):
        _caption(sheet, _MARGIN, y, captions[found.query], found.rank)
        x = _MARGIN + _QUERY
        for place, (index, score, right) in enumerate(zip(found.answers, found.scores, found.right, strict=True)):
            colour, mark = (RIGHT, "✓") if right else (WRONG, "✗")
            pixels = thumbnail(image_ids[index])
            sheet.picture(x + place * step, y, _CELL, pixels, colour, 3.5 if right else 1.8)
            _note(sheet, x + place * step, y, f"{mark} {place + 1}  ·  {score:.2f}", colour)
        if not found.right.any():
            sheet.picture(x + k * step, y, _CELL, thumbnail(image_ids[found.wanted]), LINE, 1)
            _note(sheet, x + k * step, y, f"✓ rank {found.rank + 1:,}", RIGHT)
    _credit(sheet, credit)
    return sheet.figure


def image_query_figure(
    sections: Mapping[str, Sequence[Found]],
    captions: Sequence[str],
    image_ids: np.ndarray,
    thumbnail: Thumbnail,
    *,
    credit: str = "",
) -> Figure:
    """Rows of an image and the captions it found; a right caption further down stands below the others."""
    k = max((len(found.answers) for rows in sections.values() for found in rows), default=1)
    row = max(_CELL + 0.45, (k + 1) * _LINE + 0.3)
    sheet = _Sheet(10, _height(sections, row, credit))
    x = _MARGIN + _CELL + 0.35
    for y, found in _layout(sheet, sections, row):
        sheet.picture(_MARGIN, y, _CELL, thumbnail(image_ids[found.query]), LINE, 1)
        _note(sheet, _MARGIN, y, f"rank {found.rank + 1:,}", RIGHT if found.rank == 0 else MUTED)
        for place, (index, score, right) in enumerate(zip(found.answers, found.scores, found.right, strict=True)):
            _line(sheet, x, y + place * _LINE, captions[index], f"{score:.2f}", bool(right))
        if not found.right.any():
            _line(sheet, x, y + k * _LINE + 0.08, captions[found.wanted], f"{found.rank + 1:,}.", True)
    _credit(sheet, credit)
    return sheet.figure


def query_gallery_figure(
    images: EmbeddingSet,
    texts: EmbeddingSet,
    captions: Sequence[str],
    ranks: np.ndarray,
    thumbnail: Thumbnail,
    *,
    rows: int = 6,
    k: int = 5,
    relevance: str = "id",
    score: Score = None,
    seed: int = 0,
    credit: str = "",
) -> np.ndarray:
    """A picture of some captions with their top k images, uint8 (height, width, 3), for TensorBoard.

    images, texts, relevance, score: as in `protocols.retrieval`; captions: (m,) the words of the texts;
    ranks: (m,) their text-to-image ranks; thumbnail: image id -> uint8 (h, w, 3). The same captions each time
    `seed` is the same.
    """
    asked = np.isin(texts.ids, images.ids) if relevance == "id" else np.isin(texts.labels, images.labels)
    places = np.random.default_rng(seed).permutation(np.flatnonzero(asked))[:rows]
    found = answer(texts, images, places, ranks, k=k, relevance=relevance, score=turned(score))
    return figure_pixels(text_query_figure({"": found}, captions, images.ids, thumbnail, credit=credit))


def _height(sections: Mapping[str, Sequence[Found]], row: float, credit: str) -> float:
    rows = sum(map(len, sections.values()))
    headings = sum(bool(title) for title in sections)
    return max(1.0, 2 * _MARGIN + rows * row + headings * _HEAD + (0.2 if credit else 0))


def _layout(sheet: _Sheet, sections: Mapping[str, Sequence[Found]], row: float) -> Iterator[tuple[float, Found]]:
    """Draws the headings and gives each query with the top of its row."""
    y = _MARGIN
    for title, rows in sections.items():
        if title:
            sheet.text(_MARGIN, y, title, fontsize=12, fontweight="bold")
            sheet.rule(y + 0.27, _MARGIN)
            y += _HEAD
        for found in rows:
            yield y, found
            y += row


def _caption(sheet: _Sheet, x: float, y: float, words: str, rank: int) -> None:
    width = 28
    lines = textwrap.wrap(_tidy(words), width) or [""]
    if len(lines) > 5:
        lines = [*lines[:4], lines[4][: width - 2] + " …"]
    sheet.text(x, y, "\n".join(lines), fontsize=10.5, linespacing=1.35)
    colour = RIGHT if rank == 0 else MUTED
    sheet.text(x, y + 0.2 * len(lines) + 0.08, _rank(rank), color=colour, fontsize=8.5)


def _tidy(words: str) -> str:
    """Without the space that tokenised captions have before their punctuation."""
    return re.sub(r"\s+([.,;:!?])", r"\1", words)


def _rank(rank: int) -> str:
    return "right answer first" if rank == 0 else f"right answer at rank {rank + 1:,}"


def _note(sheet: _Sheet, x: float, y: float, words: str, colour: str) -> None:
    sheet.text(x + _CELL / 2, y + _CELL + 0.07, words, color=colour, fontsize=8.5, ha="center")


def _line(sheet: _Sheet, x: float, y: float, words: str, note: str, right: bool) -> None:
    colour = RIGHT if right else WRONG
    sheet.text(x, y, "✓" if right else "✗", color=colour, fontsize=11, fontweight="bold")
    sheet.text(x + 0.6, y, note, color=MUTED, fontsize=9, ha="right")
    sheet.text(x + 0.75, y, textwrap.shorten(_tidy(words), 92, placeholder=" …"), fontsize=10)


def _credit(sheet: _Sheet, credit: str) -> None:
    if credit:
        sheet.text(_MARGIN, sheet.height - 0.28, credit, color=MUTED, fontsize=7.5)
