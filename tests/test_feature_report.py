"""A run over feature pairs: trained, evaluated with its report, from the commands."""

from __future__ import annotations

import json
import pathlib

import pytest

from tests.data.feature_pairs import write_wikipedia
from xmkeras import evaluate, train


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    folder = tmp_path_factory.mktemp("features")
    write_wikipedia(folder, train=60, test=30)
    run = folder / "run"
    argv = ["--flagfile=flags/daml_wikipedia.cfg", f"--data_dir={folder}", f"--run={run}", "--image_hidden=16"]
    argv += ["--embedding_dim=8", "--batch_size=18", "--steps=60", "--learning_rate=3e-3", "--daml.alpha=1"]
    assert train.main(argv) == 0
    assert evaluate.main([f"--run={run}"]) == 0
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
    assert json.loads((run / "feature_widths.json").read_text()) == {"image": 8, "text": 6}
    assert not (run / "vocabulary.txt").exists()
