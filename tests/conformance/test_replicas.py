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
@pytest.mark.parametrize(("towers", "steps", "tolerance"), [("small", 1, 1e-4), ("plain", 5, 1e-5)])
def test_two_replicas_equal_one_device(name: str, towers: str, steps: int, tolerance: float, tmp_path: pathlib.Path):
    flags = (*METHODS[name], *SMALL, "--dropout=0", "--clip_norm=5")
    one = _steps("cpu", towers, steps, tmp_path / "one.npz", flags)
    two = _steps("cpu:2", towers, steps, tmp_path / "two.npz", flags)
    assert (one.pop("replicas"), two.pop("replicas")) == (1, 2)
    assert one.keys() == two.keys()
    moved = 0
    for key in one:
        scale = max(1e-12, float(np.max(np.abs(one[key]))))
        # Where the largest change of a tensor is rounding noise of the forward pass, there is nothing to compare.
        if key.startswith("update:") and scale < 1e-7:
            continue
        moved += key.startswith("update:")
        np.testing.assert_allclose(two[key] / scale, one[key] / scale, atol=tolerance, err_msg=key)
    assert moved > (3 if towers == "plain" else 40)
