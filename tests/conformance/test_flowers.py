"""The first command of the README on a small set in the published flowers layout, and without any data."""

from __future__ import annotations

import json
import pathlib

import pytest
import tensorflow as tf

from tests.conformance.cases import SMALL
from tests.data.flowers_layout import write_flowers
from xmkeras.errors import UserError
from xmkeras.evaluate import main as evaluate
from xmkeras.export import main as export
from xmkeras.train import main as train

FLAGFILE = "--flagfile=flags/cmpm_flowers.cfg"


@pytest.mark.usefixtures("plain_tower")
def test_two_steps_evaluation_and_export(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]):
    write_flowers(tmp_path / "data")
    run = tmp_path / "run"
    argv = [FLAGFILE, *SMALL, f"--data_dir={tmp_path / 'data'}", "--batch_size=4", "--steps=2", f"--run={run}"]
    assert train(argv) == 0
    assert evaluate([f"--run={run}"]) == 0
    assert "class accuracy" in capsys.readouterr().out
    results = json.loads((run / "eval.json").read_text())
    assert 0 <= results["image_to_text/class_accuracy"] <= 100
    assert export([f"--run={run}", "--gallery=test"]) == 0
    answer = tf.saved_model.load(str(run / "saved_model" / "1")).signatures["search_by_text"](
        text=tf.constant(["a purple flower"])
    )
    assert answer["ids"].shape[0] == 1


def test_without_data_one_sentence_says_what_where_from_and_what_runs_now(tmp_path: pathlib.Path):
    with pytest.raises(UserError) as error:
        train([FLAGFILE, "--image_weights=none", f"--data_dir={tmp_path}", f"--run={tmp_path / 'run'}"])
    message = str(error.value)
    assert "\n" not in message
    for word in (str(tmp_path), "http", "jpg", "text_c10", "flags/cmpm_openmoji.cfg"):
        assert word in message
