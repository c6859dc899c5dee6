"""Multi-similarity and supervised contrastive losses against loop twins."""

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
    seeds,
    sizes,
    value_and_gradients,
)
from tests.reference import pairwise
from xmkeras.losses import multi_similarity, supervised_contrastive

X, LABELS = np.random.default_rng(0).normal(0, 1, (6, 3)), np.array([0, 0, 1, 1, 1, 2])


@given(seed=seeds, n=sizes, m=sizes, dtype=dtypes, classes=st.integers(1, 4), alone=st.booleans())
@random_batches
def test_they_agree_with_the_loops(seed, n, m, dtype, classes, alone):
    (queries, q), (references, r), labels, others = random_sides(seed, n, m, 4, classes, dtype)
    sides, twins = ((), ()) if alone else ((references, others), (r, others))
    want = pairwise.supervised_contrastive(q, labels, *twins)
    agree(supervised_contrastive(queries, labels, *sides), want, 2e-5, 2e-5)
    for epsilon in (0.1, None):
        want = pairwise.multi_similarity(q, labels, *twins, epsilon=epsilon)
        agree(multi_similarity(queries, labels, *sides, epsilon=epsilon), want, 2e-5, 2e-5)


def test_gradients_agree_with_differences_of_the_loops():
    for loss, twin in (
        (multi_similarity, pairwise.multi_similarity),
        (supervised_contrastive, pairwise.supervised_contrastive),
    ):
        _, (got,) = value_and_gradients(lambda x, of=loss: of(x, LABELS), X.astype("f4"))
        (want,) = difference_quotients(lambda x, of=twin: of(x, LABELS), X)
        agree(got, want, 1e-3, 1e-4)


def test_easy_pairs_are_not_mined():
    easy = np.array([[1.0, 0.0], [1.0, 0.0], [-1.0, 0.0], [-1.0, 0.0]])
    agree(multi_similarity(easy, [0, 0, 1, 1]), 0)
    assert float(multi_similarity(easy, [0, 0, 1, 1], epsilon=None)) > 0.1
