"""A run that has learnt nothing is told as such by every command, and one that has learnt is not."""

from __future__ import annotations

import csv
import pathlib

import pytest

from tests.conformance.cases import write_vectors
from xmkeras import flags
from xmkeras.evaluate import main as evaluate
from xmkeras.export import main as export
from xmkeras.search import main as search
from xmkeras.train import main as train
from xmkeras.training.checkpoints import Checkpoints


def start(tmp_path: pathlib.Path, *more: str) -> tuple[pathlib.Path, int]:
    table = write_vectors(tmp_path / "pairs.npz", 32, splits=("train", "validation", "test"))
    run = tmp_path / "run"
    argv = [
        "--source=features", f"--table={table}", "--image_hidden=16", "--embedding_dim=16", "--word_dim=16",
        "--lstm_units=0", "--pooling=mean", "--min_count=1", "--batch_size=8", "--devices=cpu", f"--run={run}", *more,
    ]  # fmt: skip
    return run, flags.main_guard(train, argv)


def test_what_a_rate_without_sense_leaves_is_told_by_every_command(tmp_path, capsys):
    run, status = start(tmp_path, "--learning_rate=1e10", "--steps=20", "--eval_every=10")
    assert status == 0
    printed = capsys.readouterr().out
    assert "validation at step 20: rsum" in printed
    assert "(chance 100.0)" in printed
    assert "the model has learnt nothing" in printed
    assert f"{run}: ended at step 20" in printed
    assert "finished" not in printed
    assert evaluate([f"--run={run}"]) == 0
    assert "the model has learnt nothing" in capsys.readouterr().out
    assert "the model has learnt nothing" in (run / "report.md").read_text()
    assert export([f"--run={run}", "--gallery=test"]) == 0
    assert "of the texts are nearly equal" in capsys.readouterr().out
    assert search([f"--model={run}", "--text=a red circle"]) == 0
    assert "the model has learnt nothing" in capsys.readouterr().err
    state = Checkpoints(run / "checkpoints").latest().state
    assert state["chance"] == pytest.approx(100.0)


def test_what_has_learnt_is_finished(tmp_path, capsys):
    run, _ = start(tmp_path, "--steps=60", "--learning_rate=0.01")
    printed = capsys.readouterr().out
    assert f"{run}: finished at step 60; best validation rsum" in printed
    assert "learnt nothing" not in printed
    assert "nearly equal" not in printed
    with (run / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert float(rows[-1]["validation/chance/rsum"]) == pytest.approx(100.0)
