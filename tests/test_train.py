"""What the train command says at its end; the run itself is tested in test_jobs.py and test_commands.py."""

from __future__ import annotations

import pathlib

import pytest

from tests.conformance.cases import SMALL, write_pairs
from xmkeras.train import main as train


def test_says_how_it_ended_and_what_comes_next(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]):
    table = write_pairs(tmp_path / "pairs", 8, splits=("train", "validation"))
    run = tmp_path / "run"
    argv = [*SMALL, "--source=table", f"--table={table}", "--batch_size=8", "--steps=2", f"--run={run}"]
    assert train(argv) == 0
    out = capsys.readouterr().out
    # Two steps leave embeddings that are all alike, which is said, and not called finished.
    assert f"{run}: ended at step 2; best validation image_to_text/class_accuracy" in out
    assert "nearly equal" in out
    assert out.rstrip().endswith(f"python -m xmkeras.evaluate --run={run}")
    assert train(argv) == 0  # a finished run says so again, and takes no step
    assert "at step 2" in capsys.readouterr().out
