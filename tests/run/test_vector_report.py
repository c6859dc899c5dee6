"""A run over feature pairs: trained, evaluated with its report, from the commands."""

from __future__ import annotations

import json
import pathlib

import numpy as np
import pytest

from tests.data.feature_pairs import write_wikipedia
from xmkeras.evaluate import main as evaluate
from xmkeras.export import main as export
from xmkeras.retrieval.embeddings import EmbeddingSet
from xmkeras.retrieval.modality_gap import probe_accuracy
from xmkeras.run import evaluation
from xmkeras.run.directory import RunDirectory
from xmkeras.serving.client import SearchModel
from xmkeras.train import main as train


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    folder = tmp_path_factory.mktemp("features")
    write_wikipedia(folder, train=60, test=30)
    run = folder / "run"
    argv = ["--flagfile=flags/daml_wikipedia.cfg", f"--data_dir={folder}", f"--run={run}", "--image_hidden=16"]
    argv += ["--embedding_dim=8", "--batch_size=18", "--steps=60", "--learning_rate=3e-3", "--daml.alpha=1"]
    assert train(argv) == 0
    assert evaluate([f"--run={run}"]) == 0
    return run


def test_figures_are_far_above_chance(run: pathlib.Path):
    results = json.loads((run / "eval.json").read_text())
    for way in ("image_to_text", "text_to_image"):
        for name in ("mAP", "mAP@50"):
            assert results[f"{way}/{name}"] > results[f"chance/{way}/{name}"] + 20
    assert results["data"] == "wikipedia"


def test_the_report_shows_scope_and_space(run: pathlib.Path):
    report = (run / "report.md").read_text()
    assert "A linear probe tells images from texts in" in report
    for name in ("scope", "space", "ranks", "training"):
        assert (run / "report" / f"{name}.png").stat().st_size > 5000
        assert f"report/{name}.png" in report
    results = json.loads((run / "eval.json").read_text())
    for when in ("before", "after"):
        assert 0 <= results[f"modality_probe/{when}_training"] <= 100


def test_the_run_keeps_what_evaluation_needs(run: pathlib.Path):
    assert json.loads((run / "inputs.json").read_text()) == {
        "image": {"kind": "image vectors", "width": 8},
        "text": {"kind": "text vectors", "width": 6},
    }


def test_class_probabilities_are_measured_and_exported(tmp_path: pathlib.Path):
    write_wikipedia(tmp_path, train=60, test=30)
    argv = ["--flagfile=flags/daml_wikipedia_tuned.cfg", f"--data_dir={tmp_path}", f"--run={tmp_path / 'run'}"]
    argv += ["--image_preprocessing=sqrt,fourier50", "--embedding_dim=8", "--batch_size=18", "--steps=60"]
    assert train([*argv, "--learning_rate=1e-2"]) == 0
    run = RunDirectory(tmp_path / "run")
    measured, _ = evaluation.evaluate(run.config(), run)
    for way in ("image_to_text", "text_to_image"):
        assert measured.results[f"{way}/mAP"] > measured.results[f"chance/{way}/mAP"] + 20
    classes = [EmbeddingSet(side.ids, side.labels, side.vectors[:, :3]) for side in (measured.images, measured.texts)]
    assert measured.results["modality_probe/after_training"] == pytest.approx(probe_accuracy(*classes))
    assert export([f"--run={run.path}", "--gallery=test"]) == 0
    found = SearchModel(run.path).signatures["search_by_text"](text_features=np.ones((1, 6), np.float32))
    assert found["scores"].shape == (1, 10)
    assert 0 <= float(found["scores"][0, 0]) <= 1
