"""Contrastive loss against equation 4 of paper 002 worked by hand and a loop twin."""

from __future__ import annotations

import math

import numpy as np
import pytest
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
from xmkeras.losses import contrastive


def test_similar_and_dissimilar_pairs_by_hand():
    x = np.array([[0.0, 0.0], [3.0, 4.0]])
    agree(contrastive(x, [7, 7], bound=10.0, normalize=False), 2 / 10 * 25)
    agree(contrastive(x, [7, 8], bound=10.0, normalize=False), 20 * math.exp(-2.77 / 10 * 5))
    agree(contrastive(x[:1], [7], x[1:], [8], bound=10.0, normalize=False), 20 * math.exp(-2.77 / 10 * 5))


@given(seed=seeds, n=sizes, m=sizes, dtype=dtypes, classes=st.integers(1, 4), alone=st.booleans())
@random_batches
def test_agrees_with_the_loops(seed, n, m, dtype, classes, alone):
    (queries, q), (references, r), labels, others = random_sides(seed, n, m, 4, classes, dtype)
    sides, twins = ((), ()) if alone else ((references, others), (r, others))
    agree(
        contrastive(queries, labels, *sides, bound=3.0, normalize=False),
        pairwise.contrastive(q, labels, *twins, bound=3.0),
        2e-5,
        2e-5,
    )


def test_gradients_agree_with_differences_of_the_loops():
    x, labels = np.random.default_rng(0).normal(0, 1, (5, 3)), np.array([0, 0, 1, 1, 2])
    _, (got,) = value_and_gradients(lambda x: contrastive(x, labels, normalize=False), x.astype("f4"))
    (want,) = difference_quotients(lambda x: pairwise.contrastive(x, labels), x)
    agree(got, want, 1e-4, 1e-5)


def test_lengths_do_not_matter_when_normalised():
    x = np.random.default_rng(1).normal(0, 1, (4, 3))
    agree(contrastive(5 * x, [0, 0, 1, 1]), contrastive(x, [0, 0, 1, 1]))


def test_unusable_arguments_are_named():
    with pytest.raises(ValueError, match="bound must be positive"):
        contrastive(np.eye(2), [0, 1], bound=0.0)
    with pytest.raises(ValueError, match="reference_labels must have one entry a row: 2 entries for 3 rows"):
        contrastive(np.eye(2), [0, 1], np.ones((3, 2)))
