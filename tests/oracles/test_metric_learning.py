"""The losses of deep metric learning beside PyTorch Metric Learning, values and gradients."""

from __future__ import annotations

import numpy as np
import pytest

from tests.losses.checks import agree, value_and_gradients
from tests.oracles.processes import ask
from xmkeras import losses
from xmkeras.losses.similarity import unit

RANDOM = np.random.default_rng(1)
LABELS, REFERENCE_LABELS = RANDOM.integers(0, 6, 24), RANDOM.integers(0, 6, 30)
X, Z = RANDOM.normal(0, 1, (24, 16)).astype("f4"), RANDOM.normal(0, 1, (30, 16)).astype("f4")
PAIRS, PROXIES = RANDOM.normal(0, 1, (48, 16)).astype("f4"), RANDOM.normal(0, 1, (6, 16)).astype("f4")
CENTERS = RANDOM.normal(0, 1, (6, 3, 16)).astype("f4")


@pytest.fixture(scope="module")
def metric_learning(tmp_path_factory):
    inputs = {
        "x": X,
        "z": Z,
        "labels": LABELS,
        "reference_labels": REFERENCE_LABELS,
        "pairs": PAIRS,
        "proxies": PROXIES,
        "centers": CENTERS,
    }
    needs = "PyTorch and pytorch-metric-learning"
    return ask("ask_metric_learning.py", tmp_path_factory.mktemp("metric_learning"), inputs, needs)


@pytest.mark.parametrize(
    ("name", "loss"),
    [
        ("triplet 0.01", lambda x: losses.triplet_semihard_all(x, LABELS, margin=0.01)),
        ("triplet 0.2", lambda x: losses.triplet_semihard_all(x, LABELS)),
        ("triplet references", lambda x: losses.triplet_semihard_all(x, LABELS, Z, REFERENCE_LABELS)),
        ("angular", lambda x: losses.angular_all_pairs(x, LABELS, angle=40.0, normalize="pairs")),
        (
            "angular references",
            lambda x: losses.angular_all_pairs(x, LABELS, Z, REFERENCE_LABELS, normalize="pairs"),
        ),
        ("histogram", lambda x: losses.histogram(x, LABELS, bins=20)),
        ("proxy_nca", lambda x: losses.proxy_nca(x, LABELS, PROXIES, scale=1.0, smoothing=0.0)),
        ("proxy_anchor", lambda x: losses.proxy_anchor(x, LABELS, PROXIES)),
        ("norm_softmax", lambda x: losses.norm_softmax(unit(x), LABELS, PROXIES.T, scale=20.0)),
        ("soft_triple", lambda x: losses.soft_triple(x, LABELS, CENTERS, tau=0.0)),
        ("multi_similarity", lambda x: losses.multi_similarity(x, LABELS)),
        ("multi_similarity all", lambda x: losses.multi_similarity(x, LABELS, epsilon=None)),
        ("multi_similarity references", lambda x: losses.multi_similarity(x, LABELS, Z, REFERENCE_LABELS)),
        ("supcon", lambda x: losses.supervised_contrastive(x, LABELS)),
        ("supcon references", lambda x: losses.supervised_contrastive(x, LABELS, Z, REFERENCE_LABELS)),
    ],
)
def test_value_and_gradient_agree(metric_learning, name, loss):
    value, (gradient,) = value_and_gradients(loss, X)
    agree(value, metric_learning[name], 2e-5)
    agree(gradient, metric_learning[f"{name} gradient"], 1e-3, 2e-5)


def test_n_pair_agrees(metric_learning):
    value, (gradient,) = value_and_gradients(lambda x: losses.n_pair(x[:24], x[24:]), PAIRS)
    agree(value, metric_learning["n_pair"])
    agree(gradient, metric_learning["n_pair gradient"], 1e-4, 1e-6)


def test_gradients_of_proxies_agree(metric_learning):
    _, (gradient,) = value_and_gradients(lambda p: losses.proxy_nca(X, LABELS, p, scale=1.0, smoothing=0.0), PROXIES)
    agree(gradient, metric_learning["proxy_nca proxies"], 1e-4, 1e-6)
    _, (gradient,) = value_and_gradients(lambda p: losses.proxy_anchor(X, LABELS, p), PROXIES)
    agree(gradient, metric_learning["proxy_anchor proxies"], 1e-4, 1e-6)
