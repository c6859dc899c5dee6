"""Runs a reference library in a process of its own: it and TensorFlow 2.21 with Keras 3 do not share one."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

ROOT = pathlib.Path(__file__).parents[2]


def ask(script: str, folder: pathlib.Path, inputs: dict[str, np.ndarray], needs: str, **environment: str):
    """What the script saves as `outputs.npz` when given `inputs.npz`, both in its working folder.

    The script exits with 77 where its library cannot be imported; the test is then skipped, `needs` saying why.
    """
    np.savez(folder / "inputs.npz", **inputs)
    done = subprocess.run(
        [sys.executable, str(ROOT / "tests" / "oracles" / script)],
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode == 77:
        pytest.skip(f"needs {needs}: make test-oracles ({done.stderr.strip().splitlines()[-1]})")
    assert done.returncode == 0, done.stderr[-2000:]
    return dict(np.load(folder / "outputs.npz"))
