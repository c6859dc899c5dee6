"""The figures of an evaluation as a table for the screen or in Markdown, and as eval.json."""

import json
import os
from collections.abc import Mapping
from typing import Any

from xmkeras.files import write_atomically

ABOUT = ("split", "step", "ties", "data", "run")  # what eval.json says of the run beside the figures
_NAMES = {"text_to_image": "text -> image", "image_to_text": "image -> text", "whole": "whole gallery,"}
_NAMES |= {"cca": "CCA,", "frozen": "frozen features", "pca": "PCA", "whitened": "whitened features"}
_RANKS = {"median_rank": "median rank", "mean_rank": "mean rank"}
_SIZES = {"queries": "queries", "gallery": "gallery"}


def format_table(results: Mapping[str, float]) -> str:
    """The figures of any protocol as a table for the screen, a row a direction, and the others below it."""
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
    """The header, and two rows a direction: its recalls, ranks and sizes, and their chance values."""
    columns = _columns(results)
    ways = dict.fromkeys(_parts(name)[0] for name in results if _is_recall(name) and not name.startswith("chance/"))
    rows = [["", *columns.values()]]
    for way in ways:
        for prefix, title in (("", _title(way) or "image -> image"), ("chance/", "  chance")):
            cells = [_cell(results, prefix, way, figure) for figure in columns]
            rows += [[title, *cells]] if any(cells) else []
    return rows


def _columns(results: Mapping[str, float]) -> dict[str, str]:
    """The figures that have a column, with its heading."""
    present = {_parts(name)[1] for name in results}
    recalls = sorted((name for name in present if _is_recall(name)), key=lambda name: int(name.partition("@")[2]))
    return {name: name for name in recalls} | {n: title for n, title in (_RANKS | _SIZES).items() if n in present}


def _cell(results: Mapping[str, float], prefix: str, way: str, figure: str) -> str:
    value = results.get(f"{prefix}{way}/{figure}" if way else f"{prefix}{figure}")
    if value is None:
        return ""
    if figure in _SIZES:
        return f"{value:,.0f}"
    if figure == "median_rank" and float(value).is_integer():
        return f"{value:,.0f}"
    return f"{value:,.1f}"


def _single_figures(results: Mapping[str, float]) -> list[tuple[str, str]]:
    """The figures without a column, as title and text."""
    columns, singles = _columns(results), []
    for name, value in results.items():
        way, figure = _parts(name)
        if figure in columns or name.startswith("chance/"):
            continue
        chance = results.get(f"chance/{name}")
        singles.append((f"{_title(way)} {figure}".replace("_", " ").strip(), _number(figure, value) + _chance(chance)))
    return singles


def _number(figure: str, value: float) -> str:
    if figure == "p":
        return f"{value:.2g}"  # of a bootstrap: one decimal would say 0
    return f"{value:,}" if isinstance(value, int) else f"{value:.1f}"


def _chance(value: float | None) -> str:
    return "" if value is None else f" (chance {value:.1f})"


def _title(way: str) -> str:
    return " ".join(_NAMES.get(part, part) for part in way.split("/") if part)


def _parts(name: str) -> tuple[str, str]:
    """A name as its direction, "" where it has none, and its figure."""
    way, _, figure = name.rpartition("/")
    return way, figure


def _is_recall(name: str) -> bool:
    return _parts(name)[1].startswith("R@")


def write_eval(path: str | os.PathLike[str], results: Mapping[str, Any]) -> None:
    """Writes eval.json: `results` in a stable order, put in place only once it is whole."""
    write_atomically(path, json.dumps(dict(results), indent=2, sort_keys=True).encode() + b"\n")


def read_eval(path: str | os.PathLike[str]) -> dict[str, float]:
    """The figures of an eval.json, without what it says of the run."""
    with open(path, encoding="utf-8") as file:
        results = json.load(file)
    return {name: value for name, value in results.items() if name not in ABOUT}
