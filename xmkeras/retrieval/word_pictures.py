"""Pictures of captions word by word: which regions of an image each word looks at."""

import re
import textwrap
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from xmkeras.retrieval.answers import Answered
from xmkeras.retrieval.measured import Look, Looks, Thumbnail
from xmkeras.retrieval.plots import LINE, MUTED
from xmkeras.retrieval.query_pictures import CELL, GAP, MARGIN, Sheet, tidy

_MOST_WORDS, _LONG = 9, 4
_CAPTION, _LETTERS = 0.3, 11  # inches of a caption's line, letters of it an inch


def word_figure(
    sections: Mapping[str, Sequence[Answered]],
    captions: Sequence[str],
    own_images: np.ndarray,
    thumbnail: Thumbnail,
    looks: Looks,
    *,
    credit: str = "",
) -> Figure | None:
    """Rows of a caption, its own image, and that image under what its words look at; None where words look nowhere.

    own_images: (m,) the id of the image that each caption is of. Of a long caption the words are shown that are surest
    of where to look, in their order; under each stands how many times the mean its largest share is.
    """
    everything = [found for rows in sections.values() for found in rows]
    shown = {found.query: _surest(looks(found.query, own_images[found.query])) for found in everything}
    most = max(map(len, shown.values()), default=0)
    if not most:
        return None
    row, step = CELL + 0.45 + _CAPTION, CELL + GAP
    sheet = Sheet.of_rows(max(2 * MARGIN + step * (1 + most), 8.0), sections, row, credit)
    for y, found in sheet.rows(sections, row):
        words = textwrap.shorten(tidy(captions[found.query]), int(_LETTERS * sheet.width), placeholder=" …")
        sheet.text(MARGIN, y, words, fontsize=10.5)
        pixels, top = thumbnail(own_images[found.query]), y + _CAPTION
        sheet.asking_image(top, found, pixels)
        for place, (word, shares) in enumerate(shown[found.query], 1):
            x = MARGIN + place * step
            sheet.picture(x, top, CELL, pixels, LINE, 1, heat=shares)
            sheet.note(x, top, f"{word}  ·  {_focus(shares):.1f}x", MUTED)
    sheet.credit(credit)
    return sheet.figure


def over_image(shares: np.ndarray, boxes: np.ndarray | None, cells: int = 56) -> np.ndarray:
    """What regions have of a word's attention, as a map of the image.

    Args:
        shares: (r,) of the regions.
        boxes: (r, 4) left, top, right and bottom in shares of width and height; None: the regions are a square grid,
            row by row.
        cells: height and width of the map of boxes.

    Returns:
        (h, w): the grid, or the sum of the shares of the boxes that each place lies in; (0, 0) where the regions cannot
        be a grid.
    """
    if boxes is None:
        side = round(len(shares) ** 0.5)
        return shares.reshape(side, side) if side * side == len(shares) else np.zeros((0, 0))
    painted = np.zeros((cells, cells))
    for share, (left, top, right, bottom) in zip(shares, boxes * cells, strict=True):
        # At least one cell, however small the region.
        x, y = int(np.clip(left, 0, cells - 1)), int(np.clip(top, 0, cells - 1))
        painted[y : max(y + 1, int(np.ceil(bottom))), x : max(x + 1, int(np.ceil(right)))] += share
    return painted


def _surest(looks: Sequence[Look]) -> list[Look]:
    words = [look for look in _whole(looks) if look[1].size and re.search(r"\w", look[0])]
    # The short ones, articles most of them, only where there is room.
    order = sorted(range(len(words)), key=lambda place: (len(words[place][0]) < _LONG, -_focus(words[place][1])))
    return [words[place] for place in sorted(order[:_MOST_WORDS])]


def _whole(looks: Sequence[Look]) -> list[Look]:
    """Words whose pieces (word, ##piece) are together again, with the mean of their shares."""
    words: list[tuple[str, list[np.ndarray]]] = []
    for piece, shares in looks:
        if piece.startswith("##") and words:
            words[-1] = words[-1][0] + piece.removeprefix("##"), [*words[-1][1], shares]
        else:
            words.append((piece, [shares]))
    return [(word, np.mean(shares, axis=0)) for word, shares in words]


def _focus(shares: np.ndarray) -> float:
    return float(shares.max() / max(shares.mean(), 1e-30))
