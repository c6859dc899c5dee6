"""Pictures of queries with what they found: right answers framed in green, wrong ones in red."""

import re
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

from xmkeras.retrieval.answers import Answered, answer
from xmkeras.retrieval.embeddings import EmbeddingSet
from xmkeras.retrieval.measured import Attended, Thumbnail
from xmkeras.retrieval.plots import INK, LINE, MUTED, PAPER, RIGHT, WRONG, figure_pixels, new_figure
from xmkeras.retrieval.scores import Score, turned


class Sheet:
    """A figure measured in inches from its upper left corner."""

    @classmethod
    def of_rows(cls, width: float, sections: Mapping[str, Sequence[Answered]], row: float, credit: str) -> "Sheet":
        """As high as the rows of all sections, their headings and a line of credit need."""
        rows = sum(map(len, sections.values()))
        headings = sum(bool(title) for title in sections)
        return cls(width, max(1.0, 2 * MARGIN + rows * row + headings * _HEAD + (0.2 if credit else 0)))

    def __init__(self, width: float, height: float) -> None:
        self.width, self.height = width, height
        self.figure = new_figure(width, height)

    def text(self, x: float, y: float, words: str, **style: object) -> None:
        style = {"color": INK, "fontsize": 10, "va": "top", "ha": "left", **style}
        # Captions are words, not formulas: a dollar sign stays one.
        self.figure.text(x / self.width, 1 - y / self.height, words, parse_math=False, **style)  # type: ignore[arg-type]

    def picture(
        self,
        x: float,
        y: float,
        side: float,
        pixels: np.ndarray,
        frame: str,
        thick: float,
        heat: np.ndarray | None = None,
    ) -> None:
        """A framed square with a whole picture in it, and over it a map of any size, the brighter the more."""
        box = (x / self.width, 1 - (y + side) / self.height, side / self.width, side / self.height)
        axes = self.figure.add_axes(box, xticks=[], yticks=[], facecolor=PAPER)
        high, wide = pixels.shape[:2]
        half = max(high, wide) / 2
        axes.imshow(pixels, interpolation="antialiased")
        if heat is not None:
            whole = (-0.5, wide - 0.5, high - 0.5, -0.5)
            axes.imshow(heat, cmap="inferno", alpha=0.6, vmin=0, extent=whole, interpolation="bilinear")
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

    def rows(self, sections: Mapping[str, Sequence[Answered]], row: float) -> Iterator[tuple[float, Answered]]:
        """Draws the headings and gives each query with the top of its row."""
        y = MARGIN
        for title, rows in sections.items():
            if title:
                self.text(MARGIN, y, title, fontsize=12, fontweight="bold")
                self.rule(y + 0.27, MARGIN)
                y += _HEAD
            for found in rows:
                yield y, found
                y += row

    def asking_image(self, y: float, found: Answered, pixels: np.ndarray) -> None:
        """The image that asks at the left margin, and the rank of its answer."""
        self.picture(MARGIN, y, CELL, pixels, LINE, 1)
        self.note(MARGIN, y, f"rank {found.rank + 1:,}", RIGHT if found.rank == 0 else MUTED)

    def note(self, x: float, y: float, words: str, colour: str) -> None:
        """Words under a picture whose corner is there."""
        self.text(x + CELL / 2, y + CELL + 0.07, words, color=colour, fontsize=8.5, ha="center")

    def credit(self, credit: str) -> None:
        """The attribution at the foot, if any."""
        if credit:
            self.text(MARGIN, self.height - 0.28, credit, color=MUTED, fontsize=7.5)


def tidy(words: str) -> str:
    """Without the space that tokenised captions have before their punctuation."""
    return re.sub(r"\s+([.,;:!?])", r"\1", words)


MARGIN, _QUERY, CELL, GAP, _HEAD, _LINE = 0.25, 2.6, 1.25, 0.16, 0.42, 0.235


def text_query_figure(
    sections: Mapping[str, Sequence[Answered]],
    captions: Sequence[str],
    image_ids: np.ndarray,
    thumbnail: Thumbnail,
    *,
    credit: str = "",
) -> Figure:
    """Rows of a caption and the images it found; a right image further down stands at the end of its row."""

    def query(sheet: Sheet, y: float, found: Answered) -> None:
        _caption(sheet, MARGIN, y, captions[found.query], found.rank)

    return _rows_of_images(sections, query, _QUERY, image_ids, thumbnail, credit)


def neighbour_figure(
    sections: Mapping[str, Sequence[Answered]], image_ids: np.ndarray, thumbnail: Thumbnail, *, credit: str = ""
) -> Figure:
    """Rows of an image and the other images it found; a right one further down stands at the end of its row."""

    def query(sheet: Sheet, y: float, found: Answered) -> None:
        sheet.asking_image(y, found, thumbnail(image_ids[found.query]))

    return _rows_of_images(sections, query, CELL + 0.35, image_ids, thumbnail, credit)


def attention_figure(
    sections: Mapping[str, Sequence[Answered]],
    image_ids: np.ndarray,
    thumbnail: Thumbnail,
    attended: Attended,
    *,
    credit: str = "",
) -> Figure | None:
    """Rows of an image, plain and under each of the maps of attention to it; None where there are no maps.

    attended: image id -> weights (h, w) by the name of a map; under each stands how many times the mean its largest is.
    """
    everything = [found for rows in sections.values() for found in rows]
    maps = {found.query: attended(image_ids[found.query]) for found in everything}
    most = max(map(len, maps.values()), default=0)
    if not most:
        return None
    row, step = CELL + 0.45, CELL + GAP
    sheet = Sheet.of_rows(max(2 * MARGIN + step * (1 + most), 5.0), sections, row, credit)
    for y, found in sheet.rows(sections, row):
        pixels = thumbnail(image_ids[found.query])
        sheet.asking_image(y, found, pixels)
        for place, (name, weights) in enumerate(maps[found.query].items(), 1):
            x = MARGIN + place * step
            sheet.picture(x, y, CELL, pixels, LINE, 1, heat=weights)
            sheet.note(x, y, f"{name}  ·  {weights.max() / max(weights.mean(), 1e-30):.1f}x", MUTED)
    sheet.credit(credit)
    return sheet.figure


def image_query_figure(
    sections: Mapping[str, Sequence[Answered]],
    captions: Sequence[str],
    image_ids: np.ndarray,
    thumbnail: Thumbnail,
    *,
    credit: str = "",
) -> Figure:
    """Rows of an image and the captions it found; a right caption further down stands below the others."""
    k = max((len(found.answers) for rows in sections.values() for found in rows), default=1)
    row = max(CELL + 0.45, (k + 1) * _LINE + 0.3)
    sheet = Sheet.of_rows(10, sections, row, credit)
    x = MARGIN + CELL + 0.35
    for y, found in sheet.rows(sections, row):
        sheet.asking_image(y, found, thumbnail(image_ids[found.query]))
        for place, (index, score, right) in enumerate(zip(found.answers, found.scores, found.right, strict=True)):
            _line(sheet, x, y + place * _LINE, captions[index], f"{score:.2f}", bool(right))
        if not found.right.any():
            _line(sheet, x, y + k * _LINE + 0.08, captions[found.wanted], f"{found.rank + 1:,}.", True)
    sheet.credit(credit)
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

    images, texts, relevance, score: as in `both_ways.retrieval`; captions: (m,) the words of the texts;
    ranks: (m,) their text-to-image ranks; thumbnail: image id -> uint8 (h, w, 3). The same captions each time
    `seed` is the same.
    """
    asked = np.isin(texts.ids, images.ids) if relevance == "id" else np.isin(texts.labels, images.labels)
    places = np.random.default_rng(seed).permutation(np.flatnonzero(asked))[:rows]
    found = answer(texts, images, places, ranks, k=k, relevance=relevance, score=turned(score))
    return figure_pixels(text_query_figure({"": found}, captions, images.ids, thumbnail, credit=credit))


def _rows_of_images(
    sections: Mapping[str, Sequence[Answered]],
    query: Callable[[Sheet, float, Answered], None],
    width: float,
    image_ids: np.ndarray,
    thumbnail: Thumbnail,
    credit: str,
) -> Figure:
    """Rows of images that were found, behind what `query` draws from the left margin, `width` inches wide."""
    everything = [found for rows in sections.values() for found in rows]
    k = max((len(found.answers) for found in everything), default=1)
    missed = any(not found.right.any() for found in everything)
    row, step = CELL + 0.45, CELL + GAP
    sheet = Sheet.of_rows(2 * MARGIN + width + (k + missed) * step, sections, row, credit)
    x = MARGIN + width
    for y, found in sheet.rows(sections, row):
        query(sheet, y, found)
        for place, (index, score, right) in enumerate(zip(found.answers, found.scores, found.right, strict=True)):
            colour, mark = (RIGHT, "✓") if right else (WRONG, "✗")
            pixels = thumbnail(image_ids[index])
            sheet.picture(x + place * step, y, CELL, pixels, colour, 3.5 if right else 1.8)
            sheet.note(x + place * step, y, f"{mark} {place + 1}  ·  {score:.2f}", colour)
        if not found.right.any():
            sheet.picture(x + k * step, y, CELL, thumbnail(image_ids[found.wanted]), LINE, 1)
            sheet.note(x + k * step, y, f"✓ rank {found.rank + 1:,}", RIGHT)
    sheet.credit(credit)
    return sheet.figure


def _caption(sheet: Sheet, x: float, y: float, words: str, rank: int) -> None:
    width = 28
    lines = textwrap.wrap(tidy(words), width) or [""]
    if len(lines) > 5:
        lines = [*lines[:4], lines[4][: width - 2] + " …"]
    sheet.text(x, y, "\n".join(lines), fontsize=10.5, linespacing=1.35)
    colour = RIGHT if rank == 0 else MUTED
    sheet.text(x, y + 0.2 * len(lines) + 0.08, _rank(rank), color=colour, fontsize=8.5)


def _rank(rank: int) -> str:
    return "right answer first" if rank == 0 else f"right answer at rank {rank + 1:,}"


def _line(sheet: Sheet, x: float, y: float, words: str, note: str, right: bool) -> None:
    colour = RIGHT if right else WRONG
    sheet.text(x, y, "✓" if right else "✗", color=colour, fontsize=11, fontweight="bold")
    sheet.text(x + 0.6, y, note, color=MUTED, fontsize=9, ha="right")
    sheet.text(x + 0.75, y, textwrap.shorten(tidy(words), 92, placeholder=" …"), fontsize=10)
