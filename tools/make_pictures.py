"""Draws the README's pictures from a finished demo: what sentences find, and how test queries are answered.

    python -m tools.make_pictures --run=runs/demo [--output=docs/pictures]
"""

from __future__ import annotations

import argparse
import pathlib
import sys
from collections.abc import Sequence

import numpy as np
from PIL import Image

from tools.demo import SENTENCES
from xmkeras import quiet
from xmkeras.errors import UserError
from xmkeras.retrieval.plots import INK, MUTED, new_figure

SHOWN = 6
WIDTH = 1100  # pixels of queries.png: GitHub shows no more of a README


def main(argv: Sequence[str] | None = None) -> int:
    """Writes `search.png` and `queries.png`; returns the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--run", type=pathlib.Path, default=pathlib.Path("runs/demo"))
    parser.add_argument("--output", type=pathlib.Path, default=pathlib.Path("docs/pictures"))
    options = parser.parse_args(argv)
    report = options.run / "report" / "text_to_image.png"
    if not report.is_file():
        raise UserError(f"{options.run} has no report; run `make demo` first.")
    quiet.import_tensorflow()
    options.output.mkdir(parents=True, exist_ok=True)
    draw_search(options.run, options.output / "search.png")
    picture = Image.open(report).convert("RGB")
    smaller = picture.resize((WIDTH, round(picture.height * WIDTH / picture.width)), Image.Resampling.LANCZOS)
    smaller.quantize(256).save(options.output / "queries.png", optimize=True)
    print(f"Pictures: {options.output / 'search.png'} and {options.output / 'queries.png'}")
    return 0


def draw_search(run: pathlib.Path, path: pathlib.Path) -> None:
    """A row for each of the demo's sentences: the sentence, then the first images its exported model finds."""
    from xmkeras.serving.client import SearchModel
    from xmkeras.serving.galleries import open_gallery
    from xmkeras.serving.queries import read_queries
    from xmkeras.serving.searching import find

    model = SearchModel(str(run))
    gallery = open_gallery(model, gallery="packed")
    found = find(gallery, read_queries(model, text=SENTENCES), top=SHOWN)
    figure = new_figure(1.9 + 1.25 * SHOWN, 1.45 * len(found) + 0.3)
    rows, columns = len(found), SHOWN + 2  # the sentence is two cells wide
    for row, one in enumerate(found):
        figure.text(0.02, 1 - (row + 0.5) / (rows + 0.2), f"“{one.query}”", color=INK, fontsize=13, va="center")
        for column, (name, score) in enumerate(zip(one.names, one.scores, strict=True)):
            axes = figure.add_subplot(rows, columns, row * columns + column + 3)
            axes.imshow(np.asarray(Image.open(gallery.path(name)).convert("RGB")))
            axes.set_axis_off()
            axes.set_title(f"{score:.2f}", color=MUTED, fontsize=8, pad=2)
    figure.text(0.02, 0.01, f"Images: {gallery.credit}", color=MUTED, fontsize=7.5)
    figure.savefig(path, dpi=100)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except UserError as error:
        sys.exit(f"xmkeras: {error}")
