"""The losses import no TensorFlow and give the same numbers and gradients under JAX."""

from __future__ import annotations

import importlib.util
import os
import pathlib
import subprocess
import sys

import pytest

SCRIPT = """
import json, pathlib
import jax, numpy as np
from xmkeras import losses
groups = json.loads(pathlib.Path("tests/vectors.json").read_text())
take = lambda name, *keys: [np.array(groups[name]["inputs"][key]) for key in keys]
image, text, labels = take("cmpm", "image", "text", "labels")
terms = [float(term) for term in losses.cmpm_terms(image, text, labels)]
wanted = groups["cmpm"]["expected"]["stable_logsoftmax"]
np.testing.assert_allclose(terms, [wanted["i2t"], wanted["t2i"]], rtol=1e-5)
cmpc = losses.cmpc(*take("cmpc", "image", "text", "labels", "W"))
np.testing.assert_allclose(float(cmpc), groups["cmpc"]["expected"]["total"], rtol=1e-5)
gradient = jax.jit(jax.grad(lambda x: losses.cmpm(x, text, labels)))(image.astype("float32"))
np.testing.assert_allclose(gradient, groups["cmpm"]["expected"]["grad_image_stable_total"], atol=1e-5)
print("agreed")
"""


@pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="needs JAX: pip install jax")
def test_agrees_with_the_published_numbers_under_jax():
    environment = {**os.environ, "KERAS_BACKEND": "jax"}
    root = pathlib.Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], cwd=root, env=environment, capture_output=True, text=True, check=False
    )
    assert done.stdout.strip().endswith("agreed"), done.stderr[-2000:]


def test_sources_import_no_backend():
    sources = (pathlib.Path(__file__).parents[2] / "xmkeras" / "losses").glob("*.py")
    for source in sources:
        assert "import tensorflow" not in source.read_text(), source
