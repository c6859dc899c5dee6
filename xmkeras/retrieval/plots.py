"""Figures of a run: training curves, and how far down the right answers stand. Drawn without a display."""

import itertools
import re
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter, StrMethodFormatter

from xmkeras.retrieval.metrics import chance_survival

if TYPE_CHECKING:
    import pandas as pd

INK, MUTED, LINE, PAPER = "#1f2933", "#64707d", "#d8dee6", "#f4f6f8"
RIGHT, WRONG = "#15803d", "#d64545"
COLOURS = ("#2563eb", "#d97706", "#0f766e", "#9333ea", "#be123c", "#64748b")
WAY_NAMES = {"text_to_image": "text → image", "image_to_text": "image → text"}
DPI = 110


def new_figure(width: float, height: float) -> Figure:
    """An empty white figure of the given size in inches, with its own Agg canvas and no global state."""
    figure = Figure(figsize=(width, height), dpi=DPI, facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def figure_pixels(figure: Figure) -> np.ndarray:
    """The picture of a figure, uint8 (height, width, 3)."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[:, :, :3].copy()


def cumulative_match_figure(
    ranks: dict[str, np.ndarray], relevant: dict[str, np.ndarray], galleries: dict[str, int]
) -> Figure:
    """Recall at every k (the CMC curve) and the histogram of ranks, both ways, beside a random order.

    ranks: way ("text_to_image", "image_to_text") -> (q,) 0-based ranks; relevant: way -> (q,) relevant items
    of each query; galleries: way -> number of items ranked.
    """
    figure = new_figure(10, 4.1)
    curve, bars = figure.subplots(1, 2, gridspec_kw={"width_ratios": [3, 2]})
    for (way, places), colour in zip(ranks.items(), COLOURS, strict=False):
        size = galleries[way]
        ks = np.arange(1, size + 1)
        found = np.searchsorted(np.sort(places), ks, "left") / len(places)
        curve.plot(ks, found, color=colour, lw=2.2, label=WAY_NAMES.get(way, way))
        chance = 1 - chance_survival(relevant[way], size)[1:]
        curve.plot(ks, chance, color=colour, lw=1.2, ls=(0, (3, 3)), alpha=0.8, label="  random order")
    _histogram(bars, ranks, max(galleries.values()))
    curve.set_xscale("log")
    curve.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    curve.yaxis.set_major_formatter(PercentFormatter(1.0))
    curve.set(xlim=(1, max(2, max(galleries.values()))), ylim=(0, 1.02))
    _label(curve, "Right answer among the first k", "k")
    curve.legend(frameon=False, fontsize=9, loc="best")
    figure.tight_layout()
    return figure


def _histogram(axes: Axes, ranks: dict[str, np.ndarray], size: int) -> None:
    edges = [0, 1, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 20_000, 50_000, 100_000]
    edges = [edge for edge in edges if edge < size] + [size]
    names = [str(low + 1) if high - low == 1 else f"{low + 1} to {high}" for low, high in itertools.pairwise(edges)]
    width = 0.8 / len(ranks)
    for number, ((way, places), colour) in enumerate(zip(ranks.items(), COLOURS, strict=False)):
        share = np.histogram(places, edges)[0] / len(places)
        axes.barh(
            np.arange(len(names)) + (number - 0.5 * (len(ranks) - 1)) * width,
            share,
            width * 0.92,
            color=colour,
            label=WAY_NAMES.get(way, way),
        )
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    _label(axes, "Rank of the right answer", "share of queries")
    axes.grid(axis="y", visible=False)


def training_figure(history: "pd.DataFrame", steps_per_epoch: int = 0) -> Figure | None:
    """The numbers of a run's metrics.csv over its steps: recalls, clusters, losses, rates, norms; None without any.

    history: a column "step" and one column a number, empty where it was not measured. steps_per_epoch: to draw over
    epochs where the run has two or more; 0 where it is not known.
    """
    by_epoch = bool(steps_per_epoch) and history["step"].max() >= 2 * steps_per_epoch
    time = history["step"] / steps_per_epoch if by_epoch else history["step"]
    history = history.assign(step=time)
    panels = _panels(history)
    if not panels:
        return None
    rows = (len(panels) + 1) // 2
    figure = new_figure(10, 3.9 * rows)
    grid = figure.subplots(rows, 2, squeeze=False).ravel()
    for axes, (title, columns) in zip(grid, panels.items(), strict=False):
        for column, style in zip(columns, _line_styles(columns), strict=True):
            known = history[["step", column]].dropna()
            marks = {"marker": "o", "ms": 3.5} if len(known) <= 40 else {}
            axes.plot(known["step"], known[column], lw=1.7, label=_short(column), **style, **marks)
            if (chance := _chance_of(column)) in history and history[chance].notna().any():
                axes.axhline(history[chance].dropna().iloc[-1], lw=1.1, ls=":", color=style["color"], label="_chance")
        if title == "Norms" and _spread(history, columns) > _DECADES:
            axes.set_yscale("log")
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        _label(axes, title, "epoch" if by_epoch else "step")
        _legend_below(axes)
    for axes in grid[len(panels) :]:
        axes.remove()
    figure.tight_layout(h_pad=1.5)
    return figure


def _chance_of(column: str) -> str:
    """The column of what a random order has of a figure on the validation split."""
    split, _, figure = column.partition("/")
    return f"{split}/chance/{figure}"


def _spread(history: "pd.DataFrame", columns: list[str]) -> float:
    """The largest number of columns divided by the least positive one."""
    numbers = history[columns].to_numpy(float)
    positive = numbers[np.isfinite(numbers) & (numbers > 0)]
    return float(positive.max() / positive.min()) if positive.size else 1.0


def _legend_below(axes: Axes, columns: int = 3) -> None:
    lines = [line for line in axes.get_lines() if not str(line.get_label()).startswith("_")]
    # matplotlib fills a legend column by column; this reads row by row.
    order = [number for first in range(columns) for number in range(first, len(lines), columns)]
    axes.legend(
        handles=[lines[number] for number in order],
        ncols=columns,
        loc="upper center",
        bbox_to_anchor=(0.5, -0.17),
        frameon=False,
        fontsize=8.5,
        handlelength=3,
        labelcolor=INK,
    )


def _line_styles(columns: list[str]) -> list[dict[str, Any]]:
    """A colour a line; the two directions of one figure share theirs, and the second is dashed."""
    figures = list(dict.fromkeys(re.sub(_WAY, "", column) for column in columns))
    return [
        {
            "color": COLOURS[figures.index(re.sub(_WAY, "", column)) % len(COLOURS)],
            "ls": "--" if "image_to_text/" in column else "-",
        }
        for column in columns
    ]


_DECADES = 20.0  # numbers that differ by more than this factor are drawn on a logarithmic axis
_WAY = r"(image_to_text|text_to_image)/"
_PANELS = (
    ("Recall on the validation split (%), chance dotted", r"^(?!.*chance/).*(R@\d+|accuracy|precision@\d+)$"),
    ("Clusters on the validation split (%)", r"^(?!.*chance/).*NMI$"),
    ("Lambda of the class adversary", r"adversary/lambda$"),
    ("Loss", r"^(?!.*(norm|rate|second|time|epoch|scale|chance))[^/]+$|^loss/"),
    ("Learning rate", r"^rate/|learning_rate"),
    ("Norms", r"norm"),
)


def _panels(history: "pd.DataFrame") -> dict[str, list[str]]:
    numbers = [name for name in history.columns if name != "step" and history[name].notna().any()]
    panels = {}
    for title, pattern in _PANELS:
        panels[title] = [name for name in numbers if re.search(pattern, name)]
        numbers = [name for name in numbers if name not in panels[title]]
    return {title: columns for title, columns in panels.items() if columns}


def _short(column: str) -> str:
    for way, name in WAY_NAMES.items():
        column = column.replace(f"{way}/", f"{name} ")
    return column.removeprefix("validation/").removeprefix("rate/").replace("_", " ")


def _label(axes: Axes, title: str, x: str) -> None:
    axes.set_title(title, loc="left", fontsize=11, color=INK, fontweight="bold", pad=10)
    axes.set_xlabel(x, color=MUTED)
    axes.grid(color=LINE, lw=0.7)
    axes.set_axisbelow(True)
    axes.tick_params(colors=MUTED, labelsize=9, length=0)
    for side, spine in axes.spines.items():
        spine.set_visible(side == "bottom")
        spine.set_color(LINE)
