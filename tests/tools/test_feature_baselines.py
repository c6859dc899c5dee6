"""The baselines on feature pairs: linear ties are found, choices are made, and the protocol's check figures."""

from __future__ import annotations

import numpy as np
import pytest

from tests.data.feature_pairs import write_wikipedia
from tools.feature_baselines import Part, agreeing, baselines, cca, choose, grid, main, measure, pls, semantic_matching
from xmkeras.data.sources import SourceOptions, load_source


def linear_pairs(count: int, seed: int) -> Part:
    """Images and texts that are linear maps of one hidden vector, and its class."""
    generator = np.random.default_rng(seed)
    labels = np.arange(count) % 3
    hidden = generator.normal(size=(count, 3)) + 4 * np.eye(3)[labels]
    maps = np.random.default_rng(7)
    return Part(hidden @ maps.normal(size=(3, 6)), hidden @ maps.normal(size=(3, 5)), labels,
                np.array([str(n) for n in range(count)]))  # fmt: skip


def test_linear_maps_of_one_vector_coincide_after_cca():
    images, texts = cca(linear_pairs(80, 0), linear_pairs(20, 1), {"dimension": 3})
    np.testing.assert_allclose(images, texts, atol=1e-6)


@pytest.mark.parametrize(
    ("baseline", "settings"),
    [
        (cca, {"dimension": 3, "ridge": 0.1, "power": 1.0}),
        (pls, {"dimension": 3}),
        (semantic_matching, {"classifier": "logistic", "scale": "standardize", "C": 1.0}),
        (semantic_matching, {"classifier": "svm", "scale": "none", "C": 1.0, "compared": "centred"}),
        (semantic_matching, {"classifier": "svm", "scale": "none", "C": 1.0, "compared": "agreement"}),
    ],
)
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_each_finds_the_classes(baseline, settings):
    test = linear_pairs(30, 1)
    assert measure(*baseline(linear_pairs(90, 0), test, settings), test)["mAP"] > 90


def test_agreement_is_the_inner_product_of_probabilities():
    p, q = np.random.default_rng(0).dirichlet(np.ones(4), (2, 5))
    images, texts = agreeing(p, q)
    np.testing.assert_allclose(images @ texts.T, p @ q.T)
    np.testing.assert_allclose(np.linalg.norm(images, axis=1), 1)
    np.testing.assert_allclose(np.linalg.norm(texts, axis=1), 1)


def test_the_better_settings_are_chosen():
    train, validation = linear_pairs(60, 0), linear_pairs(30, 1)
    assert choose(cca, grid(dimension=[1, 3]), train, validation)["dimension"] == 3
    assert grid(a=[1, 2], b=[3]) == [{"a": 1, "b": 3}, {"a": 2, "b": 3}]


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_the_command_prints_a_row_a_baseline(tmp_path, capsys):
    write_wikipedia(tmp_path, train=60, test=30)
    out = tmp_path / "out.json"
    main([f"--data_dir={tmp_path}", "--only=PLS", "--only=CCA", f"--json={out}"])
    printed = capsys.readouterr().out
    assert "| CCA | " in printed
    assert "| PLS | " in printed
    assert out.exists()


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_the_protocols_check_figures(shared):
    """Plain CCA .247 / .194 and an RBF-SVM .285 / .262 @all, .296 / .439 @50 are known of this set."""
    table = load_source("wikipedia", SourceOptions(data_dir=str(shared / "data"), validation_share=0.0))
    train, test = Part.of(table.split("train")), Part.of(table.split("test"))
    linear = measure(*cca(train, test, {"dimension": 7}), test)
    assert linear["image_to_text/mAP"] == pytest.approx(24.7, abs=0.4)
    assert linear["text_to_image/mAP"] == pytest.approx(19.4, abs=0.8)
    svm = measure(*semantic_matching(train, test, {"classifier": "svm", "scale": "sqrt", "C": 1.0}), test)
    expected = {"image_to_text/mAP": 28.5, "text_to_image/mAP": 26.2, "image_to_text/mAP@50": 29.6,
                "text_to_image/mAP@50": 43.9}  # fmt: skip
    for name, value in expected.items():
        assert svm[name] == pytest.approx(value, abs=1.2), name


def test_plain_cca_is_among_the_rows():
    assert {"CCA", "regularised CCA", "kernel CCA", "PLS"} < set(baselines(linear_pairs(9, 0)))
