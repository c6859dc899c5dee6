"""Precision-scope curves of several methods, one panel a direction."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from xmkeras.retrieval.plots import COLOURS, INK, LINE, MUTED, new_figure

_TITLES = {"image_to_text": "Image query → texts (Img2Txt)", "text_to_image": "Text query → images (Txt2Img)"}


def precision_scope_figure(curves: Mapping[str, Mapping[str, np.ndarray]]) -> Figure:
    """The share of right answers among the first K, over K, of each method.

    curves: method -> way ("image_to_text", "text_to_image") -> P(K) for K = 1, 2, ..., each in [0, 1].
    """
    figure = new_figure(10, 4)
    panels = figure.subplots(1, 2, sharey=True)
    for axes, (way, title) in zip(panels, _TITLES.items(), strict=True):
        for (name, ways), colour in zip(curves.items(), COLOURS * len(curves), strict=False):
            axes.plot(np.arange(1, len(ways[way]) + 1), ways[way], color=colour, lw=1.8, label=name)
        axes.set_title(title, loc="left", fontsize=11, color=INK, fontweight="bold", pad=10)
        axes.set_xlabel("scope K", color=MUTED)
        axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        axes.grid(color=LINE, lw=0.7)
        axes.tick_params(colors=MUTED, labelsize=9, length=0)
        axes.spines[["top", "right", "left"]].set_visible(False)
    panels[0].set_ylabel("precision", color=MUTED)
    if len(curves) > 1:
        panels[1].legend(frameon=False, fontsize=9, labelcolor=INK)
    figure.tight_layout()
    return figure
