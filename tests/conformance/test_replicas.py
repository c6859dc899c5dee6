"""N replicas compute what one device computes."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from tests.conformance.replica_steps import PAIRS
from tests.conftest import ROOT

Results = dict[str, np.ndarray]


def _results(devices: str, out: pathlib.Path) -> Results:
    command = [sys.executable, "-m", "tests.conformance.replica_steps", devices, str(out)]
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return dict(np.load(out))


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[Results, Results]:
    """The results of one device and of two replicas, each from a process of its own."""
    folder = tmp_path_factory.mktemp("replicas")
    one, two = (_results(devices, folder / f"{number}.npz") for number, devices in enumerate(("cpu", "cpu:2")))
    assert (int(one["replicas"]), int(two["replicas"])) == (1, 2)
    return one, two


@pytest.mark.parametrize(("name", "towers"), PAIRS)
def test_two_replicas_equal_one_device(both: tuple[Results, Results], name: str, towers: str):
    """Some steps of towers without batch norm, one step of towers with it; then one of NaN, which changes nothing."""
    tolerance = 1e-4 if towers == "norm" else 1e-5
    prefix = f"{name}/{towers}/"
    one, two = ({key.removeprefix(prefix): v for key, v in r.items() if key.startswith(prefix)} for r in both)
    assert one.keys() == two.keys()
    expected, update = one.pop("update"), two.pop("update")
    assert [results.pop("skipped").tolist() for results in (one, two)] == [[], []]
    for key in one:
        scale = float(np.max(np.abs(one[key])))
        # Rounding: the mean of what batch norm has centred, as the modalities' gap or a later batch norm's average.
        if scale < 1e-6 and (key.startswith("gauge:") or key.endswith("/moving_mean")):
            np.testing.assert_allclose(two[key], one[key], atol=1e-7, err_msg=key)
            continue
        scale = scale or 1.0
        np.testing.assert_allclose(two[key] / scale, one[key] / scale, atol=tolerance, err_msg=key)
    # The step itself, not only where it ends: a loss that is not divided by the replicas would double it.
    assert np.linalg.norm(expected) > 1e-6
    assert np.linalg.norm(update - expected) < 1e-3 * np.linalg.norm(expected)
