"""The figures of an evaluation as a table for the screen or in Markdown, and as eval.json."""

import json
import os
from collections.abc import Mapping
from typing import Any

from xmkeras.files import write_atomically
from xmkeras.retrieval.protocols import WAYS

_SINGLES = ("class_accuracy", "precision@", "mAP", "MAP@R", "mINP")
_NAMES = {"text_to_image": "text -> image", "image_to_text": "image -> text"}


def format_table(results: Mapping[str, float]) -> str:
    """The figures of `protocols.retrieval` (and of `protocols.reed`, if there) as a table for the screen."""
    header, *rows = _rows(results)
    widths = [max(len(row[column]) for row in (header, *rows)) for column in range(len(header))]
    lines = [
        "  ".join(
            cell.ljust(w) if i == 0 else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths, strict=True))
        )
        for row in (header, *rows)
    ]
    lines.insert(1, "-" * len(lines[0]))
    lines += [f"{name}: {text}" for name, text in _single_figures(results)]
    return "\n".join(line.rstrip() for line in lines)


def markdown_table(results: Mapping[str, float]) -> str:
    """The same table in Markdown."""
    header, *rows = _rows(results)
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    table = "\n".join("| " + " | ".join(cell.replace("->", "→") for cell in line) + " |" for line in lines)
    singles = "".join(f"- {name.replace('->', '→')}: {text}\n" for name, text in _single_figures(results))
    return f"{table}\n\n{singles}"


def _rows(results: Mapping[str, float]) -> list[list[str]]:
    ks = sorted({int(name.rpartition("@")[2]) for name in results if "/R@" in name})
    rows = [["", *[f"R@{k}" for k in ks], "median rank", "mean rank", "queries", "gallery"]]
    for way in WAYS:
        for prefix, name in (("", _NAMES[way]), ("chance/", "  chance")):
            start = f"{prefix}{way}/"
            sizes = [f"{results[f'{way}/{size}']:,}" for size in ("queries", "gallery")] if not prefix else ["", ""]
            ranks = [f"{results[start + 'median_rank']:,}", f"{results[start + 'mean_rank']:,.1f}"]
            rows.append([name, *[f"{results[f'{start}R@{k}']:.1f}" for k in ks], *ranks, *sizes])
    return rows


def _single_figures(results: Mapping[str, float]) -> list[tuple[str, str]]:
    singles = []
    for name, value in results.items():
        way, _, figure = name.rpartition("/")
        if name == "rsum" or (way in WAYS and figure.startswith(_SINGLES)):
            title = f"{_NAMES.get(way, '')} {figure}".replace("_", " ").strip()
            singles.append((title, f"{value:.1f} (chance {results[f'chance/{name}']:.1f})"))
    return singles


def write_eval(path: str | os.PathLike[str], results: Mapping[str, Any]) -> None:
    """Writes eval.json: `results` in a stable order, put in place only once it is whole."""
    write_atomically(path, json.dumps(dict(results), indent=2, sort_keys=True).encode() + b"\n")
