"""Checkpoints under kills, torn files and full disks."""

from __future__ import annotations

import json
import logging
import os
import pathlib
import random
import resource
import signal
import subprocess
import sys
import time

import ml_dtypes
import numpy as np
import pytest

from xmkeras.errors import UserError
from xmkeras.training.checkpoints import Checkpoints, restore

ARRAYS = {
    "weights/kernel": np.arange(12, dtype="float32").reshape(3, 4),
    "weights/half": np.array([[1.5, -2.0]], ml_dtypes.bfloat16),
    "optimizer/iteration": np.array(7, "int64"),
    "seed": np.array([1, 2**32 - 1], "uint32"),
    "flag": np.array([True, False]),
    "empty": np.zeros((0, 3), "float32"),
}


def save(store: Checkpoints, step: int, best: bool = False) -> None:
    store.save(step, {"w": np.full(1000, step, "float32")}, {"step": step}, best=best)


def names(directory: pathlib.Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def test_no_checkpoint_is_none(tmp_path: pathlib.Path) -> None:
    store = Checkpoints(tmp_path / "missing")
    assert store.latest() is None
    assert store.best() is None
    assert store.steps() == []


def test_the_newest_and_the_best_are_kept(tmp_path: pathlib.Path) -> None:
    store = Checkpoints(tmp_path, keep=2)
    for step in range(1, 8):
        save(store, step, best=step in (2, 3))
    assert store.steps() == [3, 6, 7]
    assert names(tmp_path) == ["step-00000003", "step-00000006", "step-00000007"]
    assert store.latest().step == 7
    assert store.best().step == 3
    store.mark_best(6)
    save(store, 8)
    assert store.steps() == [6, 7, 8]
    assert Checkpoints(tmp_path).best().step == 6


def test_only_a_checkpoint_can_be_the_best(tmp_path: pathlib.Path) -> None:
    with pytest.raises(UserError, match="step 5"):
        Checkpoints(tmp_path).mark_best(5)


def test_a_step_saved_twice_counts_once_with_its_last_state(tmp_path: pathlib.Path) -> None:
    store = Checkpoints(tmp_path)
    for value in range(3):
        store.save(4, {"w": np.array(value)}, {"value": value}, best=value == 0)
    assert store.steps() == [4]
    assert names(tmp_path) == ["step-00000004.2"]
    assert store.latest().state == {"value": 2}
    assert store.best().state == {"value": 2}


def test_any_damaged_byte_or_length_falls_back_to_the_checkpoint_before(
    tmp_path: pathlib.Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = Checkpoints(tmp_path)
    store.save(1, ARRAYS, {"a": 1})
    store.save(2, ARRAYS, {"a": 2})
    rng = random.Random(0)
    for file in ("manifest.json", "tensors.bin"):
        path = tmp_path / "step-00000002" / file
        whole = path.read_bytes()
        for _ in range(60):
            position = rng.randrange(len(whole) - 1)
            path.write_bytes(whole[:position])
            assert store.latest().step == 1
        for entry in json.loads((tmp_path / "step-00000001" / "manifest.json").read_bytes().split(b"\n")[0])["tensors"]:
            if file == "tensors.bin" and "empty" not in entry["name"]:
                flipped = bytearray(whole)
                flipped[entry["offset"]] ^= 1
                path.write_bytes(flipped)
                assert store.latest().step == 1
        path.unlink()
        with caplog.at_level(logging.WARNING):
            assert store.latest().step == 1
        assert "step-00000002 is torn" in caplog.text
        path.write_bytes(whole)
        assert store.latest().step == 2


def test_leftovers_of_a_killed_process_are_swept_by_the_next_save(tmp_path: pathlib.Path) -> None:
    for name in (".step-00000009.1.tmp", ".step-00000001.1.trash"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "tensors.bin").write_bytes(b"half")
    store = Checkpoints(tmp_path)
    assert store.latest() is None
    save(store, 1)
    assert names(tmp_path) == ["step-00000001"]


def test_a_file_size_limit_is_one_sentence_and_the_checkpoint_before_stays_whole(
    tmp_path: pathlib.Path,
) -> None:
    store = Checkpoints(tmp_path)
    save(store, 1, best=True)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(UserError, match=r"disk is full.*step 2 .*step 1 is whole") as caught:
            store.save(2, {"a": np.zeros(9000, "float32"), "b": np.zeros(90_000, "float32")}, {})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "\n" not in str(caught.value)
    assert names(tmp_path) == ["step-00000001"]
    assert store.latest().step == 1
    assert store.best().step == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk needs root")
def test_a_full_disk_is_one_sentence_and_the_checkpoint_before_stays_whole(tmp_path: pathlib.Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("this system does not let root mount a tmpfs")
    try:
        store = Checkpoints(disk / "run")
        save(store, 1)
        with pytest.raises(UserError, match=r"disk is full.*step 1 is whole"):
            store.save(2, {"a": np.zeros(300_000, "uint8")}, {})
        assert names(disk / "run") == ["step-00000001"]
        assert store.latest().step == 1
        save(store, 2)
        assert store.latest().step == 2
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_a_place_that_cannot_be_written_is_one_sentence(tmp_path: pathlib.Path) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(UserError, match="could not be written"):
        save(Checkpoints(tmp_path / "file" / "run"), 1)


SAVER = """
import sys, numpy as np
from xmkeras.training.checkpoints import Checkpoints
store = Checkpoints(sys.argv[1])
start = store.latest()
step = start.step if start else 0
while True:
    step += 1
    tensors = {f"w{i}": np.full((50, 100), step + i, "float32") for i in range(20)}
    store.save(step, tensors, {"step": step}, best=step % 3 == 0)
    print(step, flush=True)
"""


def test_a_process_killed_at_random_moments_leaves_its_newest_checkpoint_whole(
    tmp_path: pathlib.Path,
) -> None:
    rng = random.Random(1)
    done = 0
    for _ in range(8):
        process = subprocess.Popen([sys.executable, "-c", SAVER, str(tmp_path)], stdout=subprocess.PIPE, text=True)
        first = process.stdout.readline()
        time.sleep(rng.uniform(0, 0.15))
        process.send_signal(signal.SIGKILL)
        rest = process.communicate()[0].split()
        acknowledged = int((rest or [first])[-1])
        checkpoint = Checkpoints(tmp_path).latest()
        assert checkpoint.step in (acknowledged, acknowledged + 1)
        assert checkpoint.step > done
        assert checkpoint.state == {"step": checkpoint.step}
        for i in range(20):
            assert (checkpoint.tensors[f"w{i}"] == checkpoint.step + i).all()
        done = checkpoint.step


# Kills itself at the n-th operation on the file system that Python reports.
KILLED = """
import os, signal, sys
import numpy as np
from xmkeras.training.checkpoints import Checkpoints
directory = sys.argv[1]
events = ("open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.listdir", "os.scandir")

def save(store):
    step = (store.latest().step if store.latest() else 0) + 1
    store.save(step, {"w": np.full(9000, step)}, {"step": step}, best=True)

def save_until(moment):
    count = 0
    def hook(event, arguments):
        nonlocal count
        if event in events:
            count += 1
            if count == moment:
                os.kill(os.getpid(), signal.SIGKILL)
    sys.addaudithook(hook)
    save(Checkpoints(directory, keep=1))
    os._exit(0)

moment, newest = 0, 0
while True:
    moment += 1
    child = os.fork()
    if child == 0:
        save_until(moment)
    _, status = os.waitpid(child, 0)
    checkpoint = Checkpoints(directory).latest()
    step = checkpoint.step if checkpoint else 0
    assert step in (newest, newest + 1), (moment, newest, step)
    assert step == 0 or ((checkpoint.tensors["w"] == step).all() and checkpoint.state == {"step": step})
    assert step == 0 or Checkpoints(directory).best().step == step
    newest = step
    if os.WIFEXITED(status):
        assert os.WEXITSTATUS(status) == 0
        break
    save(Checkpoints(directory, keep=1))
    newest += 1
    assert os.listdir(directory) == [f"step-{newest:08d}"]
print(moment, newest)
"""


def test_a_process_killed_at_each_operation_of_a_save_loses_at_most_that_save(tmp_path: pathlib.Path) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    moments, newest = map(int, done.stdout.split())
    assert moments > 10
    assert newest > moments


class Slot:
    """Stands where a variable does: something with a shape that takes a value."""

    def __init__(self, *shape: int):
        self.shape, self.value = shape, np.zeros(shape)

    def assign(self, value: np.ndarray) -> None:
        self.value = np.array(value)


def test_restore_assigns_by_name() -> None:
    variables = {"a": Slot(2), "b": Slot()}
    restore(variables, {"b": np.array(3.0), "a": np.array([1.0, 2.0])})
    assert variables["b"].value == 3.0
    assert variables["a"].value.tolist() == [1.0, 2.0]


@pytest.mark.parametrize(
    ("tensors", "word"),
    [
        ({"a": np.ones(2)}, "b is missing"),
        ({"a": np.ones(2), "b": np.ones(()), "c": np.ones(1)}, "c is unexpected"),
        ({"a": np.ones(3), "b": np.ones(())}, r"a has shape \(3,\) but the model needs \(2,\)"),
        ({str(i): np.ones(1) for i in range(9)}, "and 8 more"),
    ],
)
def test_restore_changes_nothing_where_anything_is_amiss(tensors: dict, word: str) -> None:
    variables = {"a": Slot(2), "b": Slot()}
    with pytest.raises(UserError, match=word):
        restore(variables, tensors)
    assert not variables["a"].value.any()
