"""The commands: killed and restarted as processes, interrupted, and stopped by mistakes with one sentence."""

from __future__ import annotations

import os
import pathlib
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable

import pytest

from tests.conformance.cases import write_vectors
from tests.conftest import ROOT
from xmkeras import flags
from xmkeras.train import main as train
from xmkeras.training.checkpoints import Checkpoints

STEPS = 400
ENVIRONMENT = os.environ | {"CUDA_VISIBLE_DEVICES": "", "PYTHONUNBUFFERED": "1"}


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """Image vectors with captions: what a process goes through does not depend on what its towers see."""
    return write_vectors(tmp_path_factory.mktemp("pairs") / "pairs.npz", 32, splits=("train", "validation", "test"))


def arguments(table: pathlib.Path, run: pathlib.Path, *more: str) -> list[str]:
    return [
        "--source=features", f"--table={table}", "--image_hidden=16", "--embedding_dim=16", "--word_dim=16",
        "--lstm_units=0", "--pooling=mean", "--min_count=1", "--cmpm.classifier=cmpc", "--batch_size=8",
        f"--steps={STEPS}", "--save_every=10", "--eval_every=100", "--feature_dropout=0.2", "--ema=0.9",
        "--schedule=cosine", "--word_dropout=0.1", "--devices=cpu", f"--run={run}", *more,
    ]  # fmt: skip


def command(table: pathlib.Path, run: pathlib.Path, *more: str) -> list[str]:
    return [sys.executable, "-m", "xmkeras.train", *arguments(table, run, *more)]


def train_here(argv: list[str]) -> int:
    """What `python -m xmkeras.train` ends with, in this process, which has TensorFlow already."""
    return flags.main_guard(train, argv)


def run_to_end(argv: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(argv, cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True)


def kill_when(argv: list[str], moment: Callable[[], bool]) -> None:
    """Starts a command and sends SIGKILL as soon as `moment()`."""
    process = subprocess.Popen(argv, cwd=ROOT, env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while process.poll() is None and not moment():
        time.sleep(0.0005)
    process.send_signal(signal.SIGKILL)
    process.wait()


def steps_of(run: pathlib.Path) -> list[int]:
    return Checkpoints(run / "checkpoints").steps()


def is_saving(run: pathlib.Path) -> bool:
    return any((run / "checkpoints").glob(".step-*.tmp"))


def test_sigkill_at_a_random_step_and_during_a_save_costs_no_bit(table: pathlib.Path, tmp_path: pathlib.Path):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    assert train_here(arguments(table, whole)) == 0
    first = random.randrange(20, 200)
    kill_when(command(table, cut), lambda: bool(steps_of(cut)) and steps_of(cut)[-1] >= first)
    assert 0 < steps_of(cut)[-1] < STEPS
    reached = steps_of(cut)[-1]
    for _attempt in range(5):
        kill_when(command(table, cut), lambda past=reached: is_saving(cut) and steps_of(cut)[-1] > past)
        if is_saving(cut):
            break
        reached = steps_of(cut)[-1]
    assert is_saving(cut), "no kill fell into a save"
    assert steps_of(cut)[-1] < STEPS
    assert train_here(arguments(table, cut)) == 0
    one, two = (Checkpoints(run / "checkpoints").latest() for run in (whole, cut))
    assert one is not None
    assert two is not None
    assert one.step == two.step == STEPS
    assert one.tensors.keys() == two.tensors.keys()
    for name in one.tensors:
        assert one.tensors[name].tobytes() == two.tensors[name].tobytes(), name


def test_ctrl_c_saves_and_says_how_to_go_on(
    table: pathlib.Path, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
):
    run = tmp_path / "run"
    process = subprocess.Popen(
        command(table, run, "--steps=1000000"), cwd=ROOT, env=ENVIRONMENT, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    while process.poll() is None and not steps_of(run):
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 130, err
    flagfile = f"--flagfile={run / 'flags.cfg'}"
    assert flagfile in out
    saved = steps_of(run)[-1]
    assert train_here([flagfile, f"--steps={saved + 2}"]) == 0
    assert steps_of(run)[-1] == saved + 2
    capsys.readouterr()
    assert train_here([flagfile, f"--steps={saved + 2}"]) == 0
    assert f"at step {saved + 2}" in capsys.readouterr().out
    assert train_here([flagfile, "--embedding_dim=8"]) == 2
    assert "--embedding_dim was 16, is 8" in capsys.readouterr().err


def test_a_nan_stops_with_step_term_and_rows(
    table: pathlib.Path, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
):
    assert train_here(arguments(table, tmp_path / "run", "--learning_rate=1e30", "--schedule=constant")) == 2
    message = capsys.readouterr().err.strip().splitlines()[-1]
    assert message.startswith("xmkeras: Step ")
    assert "cmpm_i2t" in message
    assert "row-0" in message


@pytest.mark.parametrize(
    ("mistake", "words"),
    [
        (["--source=table", "--table=/nowhere/pairs.csv"], ["/nowhere/pairs.csv"]),
        (["--source=flowers", "--data_dir=/nowhere"], ["/nowhere", "cmpm_openmoji"]),
        (["--source=nothing"], ["nothing", "openmoji", "table"]),
        (["--method=nothing"], ["nothing", "cmpm"]),
        (["--devices=64"], ["64", "GPU"]),
        (["--image_size=big"], ["--image_size=big"]),
    ],
)
def test_mistakes_end_with_one_sentence_and_status_two(
    mistake: list[str], words: list[str], tmp_path: pathlib.Path, capfd: pytest.CaptureFixture[str]
):
    assert train_here([f"--run={tmp_path / 'run'}", "--steps=1", *mistake]) == 2
    shown = capfd.readouterr().err
    message = [line for line in shown.splitlines() if line.startswith("xmkeras:")]
    assert len(message) == 1
    for word in words:
        assert word in message[0]
    assert "Traceback" not in shown


def test_a_mistake_in_a_process_of_its_own_is_one_sentence_too(tmp_path: pathlib.Path):
    done = run_to_end([sys.executable, "-m", "xmkeras.train", f"--run={tmp_path / 'run'}", "--source=nothing"])
    assert done.returncode == 2, done.stderr
    assert [line for line in done.stderr.splitlines() if line.startswith("xmkeras:")]
    assert "Traceback" not in done.stderr
