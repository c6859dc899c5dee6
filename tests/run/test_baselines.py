"""Linear baselines beside a run: of the vectors in its files, by the same protocol."""

from __future__ import annotations

import pathlib

import numpy as np
import pytest

import xmkeras
from tests.conformance.cases import SMALL, write_pairs
from tests.data.feature_pairs import vectors, write_npz
from xmkeras.errors import UserError
from xmkeras.retrieval.embeddings import EmbeddingSet
from xmkeras.retrieval.linear_maps import (
    Pairs,
    choose_cca,
    fit_cca,
    held_out_images,
    principal_components,
    recalls,
    unit_rows,
    whitened,
)
from xmkeras.retrieval.protocols.zero_shot import zero_shot

COUNT = 120  # a third of them each for training, validation and testing


def trained(folder: pathlib.Path, *, method: str, **flags) -> pathlib.Path:
    """A run of one step on vectors."""
    table = write_npz(folder / "pairs.npz", COUNT)
    config = xmkeras.configure(
        method=method, source="features", table=table, steps=1, batch_size=16, embedding_dim=4, **flags
    )
    xmkeras.train(config, folder / "run")
    return folder / "run"


def parts_of_the_file() -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Images, texts and labels of each split."""
    labels = np.arange(COUNT) % 4
    third = COUNT // 3
    images, texts = (side.astype("f4") for side in vectors(labels))
    return [tuple(part[start : start + third] for part in (images, texts, labels)) for start in range(0, COUNT, third)]


def test_cca_of_the_vectors_in_the_file(tmp_path: pathlib.Path):
    run = trained(tmp_path, method="cmpm", labels="image", protocol="captions")
    before = xmkeras.evaluate(run)
    results = xmkeras.evaluate(run, baseline="auto")
    assert {name: results[name] for name in before} == before
    (images, texts, _), _, (asked, sentences, _) = parts_of_the_file()
    pairs = Pairs(images, texts, np.arange(len(images)))
    held_out = held_out_images(np.arange(len(images)))
    chosen = choose_cca(pairs.take(~held_out), pairs.take(held_out), dimensions=(6,))
    cca = fit_cca(pairs, chosen.settings)
    cosines = unit_rows(cca.texts(sentences)) @ unit_rows(cca.images(asked)).T
    expected = recalls(cosines, np.arange(len(asked)))
    assert results["cca/rsum"] == pytest.approx(expected["rsum"])
    assert results["cca/difference"] == pytest.approx(results["rsum"] - results["cca/rsum"], abs=15)
    assert 0 <= results["cca/p"] <= 1
    report = (run / "report.md").read_text()
    assert "CCA of the same features" in report


@pytest.mark.parametrize("kind", ["frozen", "pca", "whitened"])
def test_images_alone(tmp_path: pathlib.Path, kind: str):
    options = {"dml.extension": "base", "sampler": "classes", "images_per_class": 4}
    run = trained(tmp_path, method="dml", protocol="zero_shot", **options)
    results = xmkeras.evaluate(run, baseline=kind)
    (images, _, labels), _, (asked, _, classes) = parts_of_the_file()
    maps = {
        "frozen": lambda rows: rows,
        "pca": principal_components(images, 4),
        "whitened": whitened(images, labels, images.shape[1]),
    }
    expected = zero_shot(EmbeddingSet(np.arange(len(asked)).astype(str), classes, maps[kind](asked).astype("f4")))
    for figure in ("R@1", "NMI", "MAP@R"):
        assert results[f"{kind}/{figure}"] == pytest.approx(expected[figure]), figure


@pytest.mark.usefixtures("plain_tower")
def test_features_of_random_towers_are_no_baseline(tmp_path: pathlib.Path):
    table = write_pairs(tmp_path / "pairs", 16, splits=("train", "validation", "test"))
    sizes = dict(flag.removeprefix("--").split("=") for flag in SMALL)
    xmkeras.train(xmkeras.configure(source="table", table=table, batch_size=8, steps=1, **sizes), tmp_path / "run")
    with pytest.raises(UserError, match="--baseline needs features: this run's image tower began with random weights"):
        xmkeras.evaluate(tmp_path / "run", baseline="cca")
    with pytest.raises(UserError, match="--baseline=pca is for images alone"):
        xmkeras.evaluate(tmp_path / "run", baseline="pca")
