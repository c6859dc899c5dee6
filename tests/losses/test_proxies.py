"""Proxy-Anchor and SoftTriple against loop twins."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tests.losses.checks import (
    agree,
    difference_quotients,
    dtypes,
    random_batches,
    random_sides,
    rounded,
    seeds,
    sizes,
    value_and_gradients,
)
from tests.reference import pairwise
from xmkeras.losses import proxy_anchor, soft_triple

RANDOM = np.random.default_rng(0)
X, LABELS = RANDOM.normal(0, 1, (5, 3)), np.array([0, 0, 1, 2, 2])
PROXIES, CENTERS = RANDOM.normal(0, 1, (4, 3)), RANDOM.normal(0, 1, (3, 2, 3))


@given(seed=seeds, n=sizes, classes=sizes, dtype=dtypes)
@random_batches
def test_proxy_anchor_agrees_with_the_loops(seed, n, classes, dtype):
    (x, a), (proxies, p), labels, _ = random_sides(seed, n, classes, 4, classes, dtype)
    agree(proxy_anchor(x, labels, proxies, scale=8.0), pairwise.proxy_anchor(a, labels, p, scale=8.0), 2e-5, 2e-5)


@given(seed=seeds, n=sizes, classes=st.integers(1, 4), each=st.integers(1, 3), dtype=dtypes)
@random_batches
def test_soft_triple_agrees_with_the_loops(seed, n, classes, each, dtype):
    random = np.random.default_rng(seed)
    (x, a), labels = rounded(random.normal(0, 1, (n, 4)), dtype), random.integers(0, classes, n)
    centers, c = rounded(random.normal(0, 1, (classes, each, 4)), dtype)
    agree(soft_triple(x, labels, centers), pairwise.soft_triple(a, labels, c), 5e-5, 5e-5)


def test_gradients_agree_with_differences_of_the_loops():
    for loss, twin, learned in (
        (proxy_anchor, pairwise.proxy_anchor, PROXIES),
        (soft_triple, pairwise.soft_triple, CENTERS),
    ):
        _, got = value_and_gradients(lambda x, p, of=loss: of(x, LABELS, p), X.astype("f4"), learned.astype("f4"))
        want = difference_quotients(lambda x, p, of=twin: of(x, LABELS, p), X, learned)
        for gradient, quotient in zip(got, want, strict=True):
            agree(gradient, quotient, 1e-3, 1e-4)


def test_classes_that_are_not_in_the_batch_only_repel():
    near, far = np.array([[1.0, 0.0]]), np.array([[1.0, 0.0], [1.0, 0.0], [-1.0, 0.0]])
    got = proxy_anchor(near, [0], far)
    agree(got, np.log1p(np.exp(32 * -0.9)) + (np.log1p(np.exp(32 * 1.1)) + np.log1p(np.exp(32 * -0.9))) / 3)


def test_one_center_a_class_is_a_softmax_of_cosines():
    agree(soft_triple(X, LABELS, CENTERS[:, :1]), pairwise.soft_triple(X, LABELS, CENTERS[:, :1], tau=0.0))
