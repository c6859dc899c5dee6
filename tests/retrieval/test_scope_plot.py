"""The precision-scope figure: a panel a direction, a line a method."""

from __future__ import annotations

import numpy as np

from xmkeras.retrieval.scope_plot import precision_scope_figure


def test_lines_and_panels():
    one = {"image_to_text": np.array([0.5, 0.4]), "text_to_image": np.array([0.3, 0.2])}
    two = {"image_to_text": np.array([0.6]), "text_to_image": np.array([0.1])}
    figure = precision_scope_figure({"one": one, "two": two})
    left, right = figure.axes
    assert [line.get_label() for line in left.lines] == ["one", "two"]
    np.testing.assert_array_equal(left.lines[0].get_xydata(), [[1, 0.5], [2, 0.4]])
    np.testing.assert_array_equal(right.lines[1].get_xydata(), [[1, 0.1]])
    assert right.get_legend() is not None
    assert precision_scope_figure({"one": one}).axes[1].get_legend() is None
