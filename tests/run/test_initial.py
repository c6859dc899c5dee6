"""A run that begins with another's weights: to fine-tune, or to try again after a loss that was not finite."""

from __future__ import annotations

import pathlib
import shlex

import numpy as np
import pytest

from tests.conformance.cases import write_vectors
from xmkeras import flags
from xmkeras.train import main as train
from xmkeras.training.checkpoints import Checkpoints


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    return write_vectors(tmp_path_factory.mktemp("pairs") / "pairs.npz", 16, splits=("train",))


def start(table: pathlib.Path, run: pathlib.Path, *more: str) -> int:
    argv = [
        "--source=features", f"--table={table}", "--image_hidden=6", "--embedding_dim=4", "--word_dim=4",
        "--lstm_units=0", "--pooling=mean", "--min_count=1", "--batch_size=8", "--devices=cpu", f"--run={run}", *more,
    ]  # fmt: skip
    return flags.main_guard(train, argv)


def weights(run: pathlib.Path) -> dict[str, np.ndarray]:
    checkpoints = Checkpoints(run / "checkpoints")
    used = checkpoints.best() or checkpoints.latest()
    return {name: np.array(array) for name, array in used.tensors.items() if name.startswith("weights/")}


def test_weights_come_along_and_the_command_after_a_nan_works(table, tmp_path, capsys, caplog):
    first = tmp_path / "first"
    assert start(table, first, "--steps=6", "--save_every=3") == 0
    assert start(table, first, "--steps=9", "--save_every=3") == 0
    small = ("--steps=1", "--learning_rate=1e-30", "--cmpm.classifier=cmpc")
    assert start(table, tmp_path / "fine", f"--init_from={first}", *small) == 0
    fine, known = weights(tmp_path / "fine"), weights(first)
    for name in known:
        if "moving" not in name and "norm" not in name:
            np.testing.assert_allclose(fine[name], known[name], atol=1e-12, err_msg=name)
    assert "heads/classifier" in caplog.text
    # The same from a checkpoint, and a resumed run does not begin again.
    step = first / "checkpoints" / "step-00000006"
    assert start(table, tmp_path / "fine6", f"--init_from={step}", *small) == 0
    assert start(table, tmp_path / "fine6", f"--init_from={step}", *small[1:], "--steps=2") == 0
    # A rate that ends in NaN, and the command that the sentence names.
    capsys.readouterr()
    broken = tmp_path / "broken"
    assert start(table, broken, f"--init_from={first}", "--steps=40", "--save_every=1", "--learning_rate=1e30") == 2
    sentence = capsys.readouterr().err
    assert "is not finite" in sentence
    command = shlex.split(sentence.strip().splitlines()[-1].partition("python -m xmkeras.train ")[2])
    assert f"--run={broken}-2" in command
    assert "--clip_norm=1" in command
    assert flags.main_guard(train, [*command, "--steps=2"]) == 0


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        (["--embedding_dim=5"], "has image_head/joint_projection/kernel of shape"),
        (["--init_from=/nowhere"], "is neither a run with a checkpoint nor a checkpoint"),
    ],
)
def test_what_does_not_fit_is_one_sentence(table, tmp_path, capsys, more, sentence):
    assert start(table, tmp_path / "one", "--steps=1") == 0
    assert start(table, tmp_path / "two", f"--init_from={tmp_path / 'one'}", "--steps=1", *more) == 2
    assert sentence in capsys.readouterr().err
