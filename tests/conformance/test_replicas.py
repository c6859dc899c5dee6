"""N replicas compute what one device computes."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from tests.conformance.cases import METHODS, SMALL
from tests.conftest import ROOT


def _steps(devices: str, towers: str, steps: int, out: pathlib.Path, flags: tuple[str, ...]) -> dict[str, np.ndarray]:
    command = [sys.executable, "-m", "tests.conformance.replica_steps", devices, towers, str(steps), str(out)]
    done = subprocess.run(
        [*command, *flags], cwd=ROOT, env=os.environ | {"CUDA_VISIBLE_DEVICES": ""}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return dict(np.load(out))


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize(
    ("towers", "steps", "tolerance"), [("plain", 5, 1e-5), ("norm", 1, 1e-4), ("mobilenet", 1, 1e-4)]
)
def test_two_replicas_equal_one_device(name: str, towers: str, steps: int, tolerance: float, tmp_path: pathlib.Path):
    flags = (*METHODS[name], *SMALL, "--image_size=64", "--dropout=0", "--clip_norm=5")
    one = _steps("cpu", towers, steps, tmp_path / "one.npz", flags)
    two = _steps("cpu:2", towers, steps, tmp_path / "two.npz", flags)
    assert (one.pop("replicas"), two.pop("replicas")) == (1, 2)
    assert one.keys() == two.keys()
    update, expected = two.pop("update"), one.pop("update")
    for key in one:
        # The gradients of a deep net at random weights carry a per cent of rounding: there the update is compared as
        # a whole, below, and only the losses to the tolerance.
        if towers == "mobilenet" and not key.startswith(("loss:cmp", "loss:loss")):
            continue
        scale = max(1e-6, float(np.max(np.abs(one[key]))))
        np.testing.assert_allclose(two[key] / scale, one[key] / scale, atol=tolerance, err_msg=key)
    # The step itself, not only where it ends: a loss that is not divided by the replicas would double it.
    bound = 0.05 if towers == "mobilenet" else 1e-3
    assert np.linalg.norm(expected) > 1e-6
    assert np.linalg.norm(update - expected) < bound * np.linalg.norm(expected)
