"""Triplet semi-hard and N-pair beside TensorFlow Addons 0.23, its last release, values and gradients."""

from __future__ import annotations

import numpy as np
import pytest

from tests.losses.checks import agree, value_and_gradients
from tests.oracles.processes import ask
from xmkeras import losses

RANDOM = np.random.default_rng(0)
LABELS = RANDOM.integers(0, 8, 40)
X, Z = RANDOM.normal(0, 1, (2, 40, 16)).astype("f4")
X /= np.linalg.norm(X, axis=1, keepdims=True)


@pytest.fixture(scope="module")
def addons(tmp_path_factory):
    inputs = {"x": X, "z": Z, "labels": LABELS}
    needs = "TensorFlow Addons 0.23 and tf-keras on Python 3.11"
    return ask("ask_addons.py", tmp_path_factory.mktemp("addons"), inputs, needs, TF_USE_LEGACY_KERAS="1")


@pytest.mark.parametrize("margin", [0.2, 1.0])
@pytest.mark.parametrize(("metric", "distance"), [("L2", "euclidean"), ("squared-L2", "squared")])
def test_triplet_semihard_agrees(addons, metric, distance, margin):
    value, (gradient,) = value_and_gradients(
        lambda x: losses.triplet_semihard(x, LABELS, margin=margin, distance=distance), X
    )
    agree(value, addons[f"triplet {metric} {margin}"])
    agree(gradient, addons[f"triplet {metric} {margin} x"], 1e-4, 1e-6)


def test_n_pair_with_soft_targets_agrees(addons):
    value, gradients = value_and_gradients(lambda x, z: losses.n_pair(x, z, LABELS), X, Z)
    agree(value, addons["n_pair"])
    for name, gradient in zip("xz", gradients, strict=True):
        agree(gradient, addons[f"n_pair {name}"], 1e-4, 1e-6)
