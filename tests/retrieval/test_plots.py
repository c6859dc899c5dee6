"""Curves hold the numbers they were given."""

import numpy as np
import pandas as pd
import pytest

from xmkeras.retrieval import metrics, plots


def test_the_curve_is_the_recall_at_every_k_beside_chance():
    ranks = {"text_to_image": np.array([0, 3, 3, 8]), "image_to_text": np.array([1, 1])}
    relevant = {"text_to_image": np.ones(4, int), "image_to_text": np.full(2, 3)}
    sizes = {"text_to_image": 9, "image_to_text": 30}
    curve, bars = plots.cumulative_match_figure(ranks, relevant, sizes).axes
    found, chance, *_ = (np.asarray(line.get_ydata()) for line in curve.lines)
    expected = [metrics.recall_at_k(ranks["text_to_image"], k) / 100 for k in range(1, 10)]
    np.testing.assert_allclose(found, expected)
    np.testing.assert_allclose(chance, np.arange(1, 10) / 9)
    widths = [bar.get_width() for bar in bars.patches]
    assert sum(widths) == pytest.approx(2)


def test_training_curves_skip_what_was_not_measured():
    history = pd.DataFrame(
        {
            "step": [10, 20, 30],
            "loss": [3.0, 2.0, 1.0],
            "cmpm": [2.0, 1.0, 0.5],
            "rate/all": [0.1, 0.1, 0.1],
            "image_norm": [1.0, 1.0, 1.0],
            "images_per_second": [9.0, 9.0, 9.0],
            "validation/text_to_image/R@1": [np.nan, 5.0, np.nan],
            "validation/chance/text_to_image/R@1": [np.nan, 1.0, np.nan],
            "validation/text_to_image/queries": [np.nan, 9.0, np.nan],
            "empty": [np.nan] * 3,
        }
    )
    figure = plots.training_figure(history)
    lines = {axes.get_title("left"): [line.get_label() for line in axes.lines] for axes in figure.axes}
    assert lines == {
        "Recall on the validation split (%), chance dotted": ["text → image R@1", "_chance"],
        "Loss": ["loss", "cmpm"],
        "Learning rate": ["all"],
        "Norms": ["image norm"],
    }
    np.testing.assert_array_equal(figure.axes[0].lines[0].get_xdata(), [20])
    np.testing.assert_array_equal(figure.axes[0].lines[1].get_ydata(), [1.0, 1.0])
    assert figure.axes[3].get_yscale() == "linear"
    far = plots.training_figure(history.assign(gradient_norm=[900.0, 40.0, 30.0]))
    assert far.axes[3].get_yscale() == "log"


def test_clusters_and_lambda_have_panels_over_epochs():
    history = pd.DataFrame(
        {"step": [5, 10, 20], "validation/NMI": [50.0, 60.0, 70.0], "adversary/lambda": [-0.5, 0.0, 0.5]}
    )
    figure = plots.training_figure(history, 5)
    assert [axes.get_title("left") for axes in figure.axes] == [
        "Clusters on the validation split (%)",
        "Lambda of the class adversary",
    ]
    for axes in figure.axes:
        assert axes.get_xlabel() == "epoch"
        np.testing.assert_array_equal(axes.lines[0].get_xdata(), [1, 2, 4])
    assert plots.training_figure(history, 11).axes[0].get_xlabel() == "step"


def test_there_is_no_figure_of_nothing():
    assert plots.training_figure(pd.DataFrame({"step": [1]})) is None


def test_pixels_are_an_rgb_picture_of_the_figure():
    pixels = plots.figure_pixels(plots.new_figure(2, 1))
    assert pixels.shape == (plots.DPI, 2 * plots.DPI, 3)
    assert (pixels == 255).all()
