"""What a search found, as one web page: it needs no other file, no script and no network."""

import base64
import io
import os
import urllib.parse
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

import numpy as np

from xmkeras.files import write_atomically

# Types by suffix: the table of the operating system does not know WebP everywhere.
_TYPES = {".jpg": "jpeg", ".jpeg": "jpeg", ".png": "png", ".webp": "webp", ".gif": "gif", ".bmp": "bmp"}


@dataclass(frozen=True)
class Hit:
    """An image that was found: its name or path, its score, and the address of its picture (`file_source`)."""

    name: str
    score: float
    source: str


@dataclass(frozen=True)
class Search:
    """A query, a sentence or the name of an image, with what it found, best first.

    picture: the address of the query's own picture, if it is an image.
    """

    query: str
    hits: Sequence[Hit]
    picture: str = ""


def file_source(image: str | os.PathLike[str], page: str | os.PathLike[str], *, embed_up_to: int = 200_000) -> str:
    """The address of an image file for use in `page`: the image itself, or a link to it when it is too large.

    embed_up_to: largest file, in bytes, that is put into the page. Larger ones, those that cannot be read,
    and those without the suffix of an image are linked, relative to the page.
    """
    image = Path(image)
    kind = _TYPES.get(image.suffix.lower())
    try:
        if kind and image.stat().st_size <= embed_up_to:
            return _data(kind, image.read_bytes())
    except OSError:
        pass
    link = os.path.relpath(image.absolute(), Path(page).absolute().parent)
    return urllib.parse.quote(os.fsencode(link))


def pixels_source(pixels: np.ndarray) -> str:
    """The address of a picture in memory, uint8 (h, w, 3): itself, as PNG."""
    from PIL import Image

    data = io.BytesIO()
    Image.fromarray(pixels).save(data, "PNG", optimize=True)
    return _data("png", data.getvalue())


def write_search_page(
    path: str | os.PathLike[str], searches: Sequence[Search], *, title: str = "Search results", credit: str = ""
) -> None:
    """Writes the page; `credit` is the attribution of the images, shown at its end."""
    sections = "\n".join(_section(search) for search in searches)
    footer = f"<footer>Images: {escape(credit)}</footer>" if credit else ""
    page = _PAGE.format(title=escape(title), style=_STYLE, sections=sections, footer=footer)
    write_atomically(path, page.encode(errors="backslashreplace"))


def _data(kind: str, data: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


def _section(search: Search) -> str:
    cards = "\n".join(_card(place, hit) for place, hit in enumerate(search.hits, 1))
    query = escape(search.query)
    if search.picture:
        heading = f'<h2><img src="{escape(search.picture)}" alt=""> <span>{query}</span></h2>'
    else:
        heading = f"<h2><q>{query}</q></h2>"
    return f"<section>\n{heading}\n<ol>\n{cards or '<li>Nothing was found.</li>'}\n</ol>\n</section>"


def _card(place: int, hit: Hit) -> str:
    name, source = escape(hit.name), escape(hit.source)
    short = escape(os.path.basename(hit.name) or hit.name)
    width = 100 * min(max(hit.score, 0.0), 1.0)
    picture = f'<img src="{source}" alt="{name}" loading="lazy">'
    if not source.startswith("data:"):
        picture = f'<a href="{source}">{picture}</a>'
    return (
        f'<li><figure><div class="picture">{picture}</div><figcaption title="{name}">'
        f'<span class="place">{place}</span><span class="name">{short}</span>'
        f'<span class="score">{hit.score:.3f}</span></figcaption>'
        f'<div class="bar"><div style="width:{width:.1f}%"></div></div></figure></li>'
    )


_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<main>
<h1>{title}</h1>
{sections}
</main>
{footer}
</body>
</html>
"""

_STYLE = """
:root { --paper: #f6f7f9; --card: #fff; --ink: #1f2933; --muted: #64707d; --line: #e1e6ec; --accent: #2563eb;
} @media (prefers-color-scheme: dark) {
  :root { --paper: #14181d; --card: #1d232a; --ink: #e8edf2; --muted: #95a1ae; --line: #2c343d; --accent:
  #6ea0ff; }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 16px/1.45 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
main, footer { max-width: 1180px; margin: 0 auto; padding: 0 clamp(14px, 4vw, 36px); }
h1 { margin: 28px 0 0; font-size: 15px; font-weight: 600; letter-spacing: .02em; color: var(--muted); }
h2 { display: flex; align-items: center; gap: 14px; margin: 26px 0 14px; font-size: clamp(20px, 3.2vw, 28px);
  line-height: 1.25; font-weight: 650; overflow-wrap: anywhere; }
h2 img { width: 84px; height: 84px; object-fit: contain; background: #fff; border: 1px solid var(--line);
  border-radius: 10px; }
ol { list-style: none; margin: 0; padding: 0; display: grid; gap: 14px;
  grid-template-columns: repeat(auto-fill, minmax(min(165px, 42vw), 1fr)); }
figure { margin: 0; background: var(--card); border: 1px solid var(--line); border-radius: 12px; overflow:
hidden; } .picture { aspect-ratio: 1; background: #fff; }
.picture img { display: block; width: 100%; height: 100%; object-fit: contain; }
.picture a { display: block; height: 100%; }
figcaption { display: flex; gap: 8px; align-items: baseline; padding: 9px 11px 7px; font-size: 13px; }
.place { color: var(--muted); font-variant-numeric: tabular-nums; }
.name { flex: 1; min-width: 0; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
.score { font-weight: 600; font-variant-numeric: tabular-nums; }
.bar { height: 3px; background: var(--line); }
.bar div { height: 100%; background: var(--accent); }
footer { margin-top: 34px; padding-bottom: 30px; font-size: 13px; color: var(--muted); overflow-wrap:
anywhere; }
"""
