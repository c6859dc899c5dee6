"""Histogram loss and its densities against the published numbers and a loop twin."""

from __future__ import annotations

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
    vectors,
)
from tests.reference import pairwise
from xmkeras.losses import histogram
from xmkeras.losses.histogram import _densities

IMAGE, TEXT, LABELS, ALONE, ALONE_LABELS, EXPECTED = vectors(
    "histogram", "image", "text", "labels", "unimodal_embeddings", "unimodal_labels"
)


def test_agrees_with_the_published_numbers():
    agree(histogram(ALONE, ALONE_LABELS, bins=10), EXPECTED["unimodal"])
    agree(histogram(IMAGE, LABELS, TEXT, bins=10), EXPECTED["cross_modal"])
    agree(histogram(IMAGE, LABELS, TEXT), EXPECTED["cross_modal_100bins"])


def test_both_directions_of_the_cross_modal_loss_are_one():
    agree(histogram(TEXT, LABELS, IMAGE, bins=10), EXPECTED["cross_modal"])


@pytest.mark.parametrize("prefix", ["", "cross_modal_"])
def test_densities_agree(prefix):
    x, z, labels = (IMAGE, TEXT, LABELS) if prefix else (ALONE, ALONE, ALONE_LABELS)
    x, z = (a / np.linalg.norm(a, axis=1, keepdims=True) for a in (x, z))
    same = labels[:, None] == labels
    positive = same if prefix else same & ~np.eye(len(labels), dtype=bool)
    got = _densities((x @ z.T).astype("f4"), positive, ~same, 10)
    agree(got[0], EXPECTED[f"{prefix}h_pos"])
    agree(got[1], EXPECTED[f"{prefix}h_neg"])


def test_a_cosine_of_one_falls_on_the_last_node():
    ones = np.ones((1, 1), "f4")
    agree(_densities(ones, ones > 0, ones < 0, 10)[0], EXPECTED["s_equal_one_density_10"])


@given(
    seed=seeds, n=sizes, m=sizes, dtype=dtypes, classes=st.integers(1, 4), bins=st.integers(1, 40), alone=st.booleans()
)
@random_batches
def test_agrees_with_the_loops(seed, n, m, dtype, classes, bins, alone):
    (queries, q), (references, r), labels, others = random_sides(seed, n, m, 4, classes, dtype)
    got = histogram(queries, labels, *(() if alone else (references, others)), bins=bins)
    agree(got, pairwise.histogram(q, labels, *(() if alone else (r, others)), bins=bins), 2e-5, 1e-5)


def test_gradients_agree_with_differences_of_the_loops():
    _, got = value_and_gradients(lambda x, z: histogram(x, LABELS, z, bins=10), IMAGE.astype("f4"), TEXT.astype("f4"))
    want = difference_quotients(lambda x, z: pairwise.histogram(x, LABELS, z, LABELS, bins=10), IMAGE, TEXT)
    for gradient, quotient in zip(got, want, strict=True):
        agree(gradient, quotient, 1e-4, 1e-5)


def test_there_is_at_least_one_bin():
    with pytest.raises(ValueError, match="at least 1"):
        histogram(ALONE, ALONE_LABELS, bins=0)
