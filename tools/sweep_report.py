"""The results of a sweep: a table, a CSV file and a picture of parallel coordinates."""

from __future__ import annotations

import io
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from xmkeras.files import write_atomically
from xmkeras.retrieval.plots import INK, LINE, MUTED, new_figure

Record = Mapping[str, Any]
_SHOWN = ("R@1", "NMI", "image_to_text/mAP", "text_to_image/mAP", "image_to_text/mAP@50", "text_to_image/mAP@50")


def summary(records: Sequence[Record], metric: str) -> pd.DataFrame:
    """A row a choice of flags, best first: mean and standard deviation of the metric over seeds, and other metrics.

    Columns: the flags that vary, "trials", metric, "spread" (0 for one seed), and those of the usual metrics that
    were measured.
    """
    rows = []
    for record in records:
        flags = {name: value for name, value in record["values"].items() if name != "seed"}
        others = {name: record["validation"][name] for name in _SHOWN if name in record["validation"]}
        rows.append({**flags, metric: record["value"], **{name: others[name] for name in others if name != metric}})
    table = pd.DataFrame(rows)
    flags_varied = [name for name in (records[0]["values"] if records else ()) if name != "seed"]
    if not rows:
        return table
    numbers = [name for name in table.columns if name not in flags_varied]
    grouped = table.groupby(flags_varied, sort=False, dropna=False) if flags_varied else table.groupby(lambda _: 0)
    result = grouped[numbers].mean()
    result.insert(0, "trials", grouped.size())
    result.insert(2, "spread", grouped[metric].std().fillna(0.0))
    result = result.reset_index(drop=not flags_varied)
    return result.sort_values(metric, ascending=False, kind="stable").reset_index(drop=True)


def write_reports(out: pathlib.Path, records: Sequence[Record], metric: str) -> None:
    """Writes `results.csv`, `table.md` and `parallel.png` into `out`; nothing where no trial is done."""
    if not records:
        return
    table = summary(records, metric)
    write_atomically(out / "results.csv", table.to_csv(index=False))
    write_atomically(out / "table.md", markdown(table))
    varied = [name for name in table.columns[: list(table.columns).index("trials")] if table[name].nunique() > 1]
    write_atomically(out / "parallel.png", parallel_coordinates(table, varied, metric))


def markdown(table: pd.DataFrame) -> str:
    """The table in Markdown, numbers to two digits and flags as they are."""
    places = list(table.columns).index("trials")
    lines = ["| " + " | ".join(table.columns) + " |", "|" + "---|" * len(table.columns)]
    for row in table.itertuples(index=False):
        cells = [f"{value:g}" if isinstance(value, float) else str(value) for value in row[: places + 1]]
        cells += [f"{value:.2f}" for value in row[places + 1 :]]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def parallel_coordinates(table: pd.DataFrame, varied: Sequence[str], metric: str) -> bytes:
    """A PNG: an axis a flag and one for the metric, a line a row of the table, coloured by the metric."""
    from matplotlib import colormaps

    names = [*varied, metric]
    places = {name: _positions(table[name], name == metric) for name in names}
    figure = new_figure(max(5.0, 1.7 * len(names)), 4.6)
    axes = figure.add_subplot()
    heights = np.stack([places[name][0] for name in names], axis=1)
    colours = colormaps["viridis"](places[metric][0])
    jitter = np.random.default_rng(0).uniform(-0.012, 0.012, heights.shape)
    jitter[:, -1] = 0
    for row in np.argsort(places[metric][0]):
        axes.plot(range(len(names)), heights[row] + jitter[row], color=colours[row], lw=1.4, alpha=0.8)
    for column, name in enumerate(names):
        axes.axvline(column, color=LINE, lw=1, zorder=0)
        for height, label in places[name][1]:
            axes.text(column + 0.03, height, label, fontsize=8, color=INK, va="center")
    axes.set_xticks(range(len(names)), names, fontsize=9, color=INK)
    axes.set(yticks=[], xlim=(-0.1, len(names) - 0.6), ylim=(-0.06, 1.06))
    axes.tick_params(length=0, colors=MUTED)
    axes.spines[:].set_visible(False)
    figure.tight_layout()
    data = io.BytesIO()
    figure.savefig(data, format="png")
    return data.getvalue()


def _positions(column: pd.Series, continuous: bool) -> tuple[np.ndarray, list[tuple[float, str]]]:
    """Heights 0..1 of the values on their axis, (n,), and the labels of the axis."""
    if continuous:
        low, high = float(column.min()), float(column.max())
        span = (high - low) or 1.0
        return (column.to_numpy(float) - low) / span, [(0.0, f"{low:.2f}"), ((high - low) / span, f"{high:.2f}")]
    values = sorted(column.unique().tolist(), key=lambda value: (isinstance(value, str), value))
    height = {value: place / max(1, len(values) - 1) for place, value in enumerate(values)}
    shown = values if len(values) <= 12 else [values[0], values[-1]]
    return column.map(height).to_numpy(float), [
        (height[value], f"{value:g}" if isinstance(value, float) else str(value)) for value in shown
    ]
