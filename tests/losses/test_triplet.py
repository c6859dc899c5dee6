"""Both semi-hard triplet losses against the published numbers, loop twins, and ties."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.losses.checks import (
    agree,
    array,
    difference_quotients,
    dtypes,
    random_batches,
    random_sides,
    seeds,
    sizes,
    value_and_gradients,
    vectors,
)
from tests.reference import hinges
from xmkeras.losses import triplet_semihard, triplet_semihard_all
from xmkeras.losses.triplet import _semihard_counts

X, LABELS, EXPECTED = vectors("triplet_semihard", "embeddings", "labels")
LOSSES = [triplet_semihard, triplet_semihard_all]


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("tfa_L2_margin1", {}),
        ("tfa_sqL2_margin1", {"distance": "squared"}),
        ("tfa_L2_margin0p01", {"margin": 0.01}),
        ("tfa_L2_margin0p2", {"margin": 0.2}),
    ],
)
def test_one_negative_agrees_with_the_published_numbers(name, options):
    agree(triplet_semihard(X, LABELS, **options), EXPECTED[name])


def test_all_semihard_agrees_with_the_published_numbers():
    agree(triplet_semihard_all(X, LABELS), EXPECTED["pml_margin0p2"])
    distances = np.array([[hinges.distance(a, b) for b in X / np.linalg.norm(X, axis=1, keepdims=True)] for a in X])
    same = LABELS[:, None] == LABELS
    counts = array(_semihard_counts(distances.astype("f4"), same & ~np.eye(6, dtype=bool), ~same, 0.2))
    assert counts.clip(0).sum() == EXPECTED["pml_margin0p2_num_triplets"]


@given(
    seed=seeds, n=sizes, m=sizes, dtype=dtypes, classes=st.integers(1, 4), alone=st.booleans(), squared=st.booleans()
)
@random_batches
def test_one_negative_agrees_with_the_loops(seed, n, m, dtype, classes, alone, squared):
    (queries, q), (references, r), labels, others = random_sides(seed, n, m, 5, classes, dtype)
    sides, twins = ((), ()) if alone else ((references, others), (r, others))
    got = triplet_semihard(queries, labels, *sides, distance="squared" if squared else "euclidean")
    agree(got, hinges.triplet_one_negative(q, labels, *twins, squared=squared), 2e-5, 2e-5)


@given(
    seed=seeds,
    n=sizes,
    m=sizes,
    dtype=dtypes,
    classes=st.integers(1, 4),
    alone=st.booleans(),
    margin=st.sampled_from([0.05, 0.2, 1.0]),
)
@random_batches
def test_all_semihard_agrees_with_the_loops(seed, n, m, dtype, classes, alone, margin):
    (queries, q), (references, r), labels, others = random_sides(seed, n, m, 5, classes, dtype)
    sides, twins = ((), ()) if alone else ((references, others), (r, others))
    got = triplet_semihard_all(queries, labels, *sides, margin=margin, normalize=False)
    agree(got, hinges.triplet_all_semihard(q, labels, *twins, margin=margin), 2e-5, 2e-5)


@pytest.mark.parametrize(
    ("loss", "twin"),
    [
        (triplet_semihard, hinges.triplet_one_negative),
        (lambda *sides: triplet_semihard_all(*sides, normalize=False, margin=0.5), None),
    ],
)
def test_gradients_agree_with_differences_of_the_loops(loss, twin):
    if twin is None:
        twin = lambda *sides: hinges.triplet_all_semihard(*sides, margin=0.5)  # noqa: E731
    queries, references = np.random.default_rng(1).normal(0, 1, (2, 6, 4))
    labels = np.array([0, 0, 1, 1, 2, 2])
    _, (alone,) = value_and_gradients(lambda q: loss(q, labels), queries.astype("f4"))
    agree(alone, difference_quotients(lambda q: twin(q, labels), queries)[0], 1e-4, 1e-5)
    sides = queries.astype("f4"), references.astype("f4")
    _, got = value_and_gradients(lambda q, r: loss(q, labels, r, labels), *sides)
    want = difference_quotients(lambda q, r: twin(q, labels, r, labels), queries, references)
    for gradient, quotient in zip(got, want, strict=True):
        agree(gradient, quotient, 1e-4, 1e-5)


def test_a_negative_as_far_as_the_positive_is_not_farther():
    x = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, 3.0]])
    labels = np.array([0, 0, 1, 2, 3])
    agree(triplet_semihard(x[:1], [0], x[1:], labels[1:], margin=2.5), 0.5)
    agree(triplet_semihard_all(x[:1], [0], x[1:], labels[1:], margin=2.5, normalize=False), 0.5)


def test_a_margin_below_the_rounding_of_the_distances_is_harmless():
    x, labels = 1e4 * np.random.default_rng(2).normal(0, 1, (8, 4)), np.arange(8) // 2
    value = float(array(triplet_semihard_all(x, labels, margin=1e-6, normalize=False)))
    assert 0 <= value <= 1e-6


def test_twenty_classes_and_a_narrow_margin():
    x = np.random.default_rng(4).normal(0, 1, (60, 16))
    labels = np.arange(60) // 3
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    agree(triplet_semihard_all(x, labels, margin=0.01), hinges.triplet_all_semihard(unit, labels, margin=0.01), 1e-3)
    agree(triplet_semihard(x, labels), hinges.triplet_one_negative(x, labels))


@pytest.mark.parametrize("loss", LOSSES)
def test_unknown_distance_names_the_choices(loss):
    with pytest.raises(ValueError, match="euclidean, squared"):
        loss(X, LABELS, distance="cosine")


def test_all_semihard_needs_a_positive_margin():
    with pytest.raises(ValueError, match="margin must be positive"):
        triplet_semihard_all(X, LABELS, margin=0)
