"""The model in a process that has TensorFlow and neither Keras nor this package.

By default Keras, xmkeras and the packages with operations of their own are kept from being imported in a
child process. With XMKERAS_CLEAN_VENV=1 the child runs in a fresh virtual environment in which pip has
installed tensorflow and nothing else (it downloads some 0.6 GB).
"""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys
import venv

import numpy as np
import pytest
import tensorflow as tf

SCRIPT = pathlib.Path(__file__).parent / "call_signatures.py"
TEXTS = ["a red heart", "", "two dogs", "x", "ünïcode wörds", "a", "red"]


def answers_of(python: str, exported, encoded, folder, *options) -> tuple[dict[str, np.ndarray], str]:
    """What the script in a child process of `python` answers, and what it printed."""
    rows = {f"image_bytes/{i}": np.frombuffer(one, np.uint8) for i, one in enumerate(encoded)}
    rows |= {f"text/{i}": np.frombuffer(one.encode(), np.uint8) for i, one in enumerate(TEXTS)}
    np.savez(folder / "inputs.npz", **rows)
    command = [python, "-I", str(SCRIPT), str(exported.version), "inputs.npz", "outputs.npz", *options]
    run = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr[-3000:]
    with np.load(folder / "outputs.npz") as outputs:
        return dict(outputs), run.stdout


def check(answers: dict[str, np.ndarray], signatures, encoded) -> None:
    rows = {"image_bytes": tf.constant(encoded), "text": tf.constant(TEXTS), "k": tf.constant(2)}
    expected = {
        f"{name}/{output}": value.numpy()
        for name, function in signatures.items()
        for output, value in function(**{k: rows[k] for k in function.structured_input_signature[1]}).items()
    }
    assert set(answers) == set(expected)
    for name, value in expected.items():
        if value.dtype == np.float32:
            np.testing.assert_allclose(answers[name], value, atol=1e-5)
        else:
            np.testing.assert_array_equal(answers[name], value.astype(answers[name].dtype))


def test_every_signature_answers_without_keras(exported, signatures, encoded, tmp_path):
    answers, printed = answers_of(sys.executable, exported, encoded, tmp_path, "--block")
    check(answers, signatures, encoded)
    assert printed.split() == ["imported:"]


@pytest.mark.skipif(
    os.environ.get("XMKERAS_CLEAN_VENV") != "1",
    reason="installs TensorFlow into a fresh virtual environment; set XMKERAS_CLEAN_VENV=1 to run it",
)
def test_every_signature_answers_in_a_clean_environment(exported, signatures, encoded, tmp_path):
    venv.create(tmp_path / "venv", with_pip=True)
    python = str(tmp_path / "venv" / "bin" / "python")
    subprocess.run([python, "-m", "pip", "install", "--quiet", f"tensorflow=={tf.__version__}"], check=True)
    answers, _ = answers_of(python, exported, encoded, tmp_path)
    check(answers, signatures, encoded)
