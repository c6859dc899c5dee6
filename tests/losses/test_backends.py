"""The losses and layers import no backend, and their tests pass under JAX too, in a process of their own."""

from __future__ import annotations

import importlib.util
import os
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[2]
ELSEWHERE = ("tests/losses/test_backends.py", "tests/losses/test_doctests.py")


@pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="needs JAX: pip install jax")
def test_the_tests_of_losses_and_layers_pass_under_jax():
    environment = {**os.environ, "KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"}
    ignored = [f"--ignore={path}" for path in ELSEWHERE]
    layers = [f"tests/layers/test_{name}.py" for name in ("gradient_reversal", "map_attention")]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/losses", *layers, *ignored]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]


@pytest.mark.parametrize("room", ["losses", "layers"])
def test_sources_import_no_backend(room):
    for source in (ROOT / "xmkeras" / room).glob("*.py"):
        text = source.read_text()
        assert not [name for name in ("tensorflow", "jax", "torch") if f"import {name}" in text], source
