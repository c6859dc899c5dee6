"""Angular losses against the published numbers and loop twins."""

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
from tests.reference import pairwise
from xmkeras.losses import angular, angular_all_pairs, n_pair, n_pair_angular

ANCHORS, POSITIVES, ALL, LABELS, EXPECTED = vectors("angular", "f", "f_pos", "all", "labels")


def test_agrees_with_the_published_numbers():
    agree(angular(ANCHORS, POSITIVES), EXPECTED["angular_mc_45"])
    agree(angular(ANCHORS, POSITIVES, angle=40.0), EXPECTED["angular_mc_40"])
    agree(n_pair(ANCHORS, POSITIVES), EXPECTED["npair"])
    agree(n_pair_angular(ANCHORS, POSITIVES), EXPECTED["npair_plus_2ang_45"])
    agree(angular_all_pairs(ALL, LABELS), EXPECTED["all_pairs_all_negatives_45"])


@given(seed=seeds, n=sizes, extra=st.integers(0, 3), dtype=dtypes, classes=st.integers(1, 5), labelled=st.booleans())
@random_batches
def test_the_multi_class_form_agrees_with_the_loops(seed, n, extra, dtype, classes, labelled):
    (anchors, a), (positives, p), labels, others = random_sides(seed, n, n + extra, 4, classes, dtype)
    if not labelled:
        labels = others = None
    got = angular(anchors, positives, labels, positive_labels=others, angle=35.0)
    agree(got, pairwise.angular(a, p, labels, others, angle=35.0), 2e-5, 2e-5)


@given(
    seed=seeds,
    n=sizes,
    m=sizes,
    dtype=dtypes,
    classes=st.integers(1, 4),
    alone=st.booleans(),
    normalize=st.sampled_from(["all", "pairs", "none"]),
)
@random_batches
def test_all_pairs_agree_with_the_loops(seed, n, m, dtype, classes, alone, normalize):
    (queries, q), (references, r), labels, others = random_sides(seed, n, m, 4, classes, dtype)
    sides, twins = ((), ()) if alone else ((references, others), (r, others))
    got = angular_all_pairs(queries, labels, *sides, normalize=normalize)
    agree(got, pairwise.angular_all_pairs(q, labels, *twins, normalize=normalize), 2e-5, 2e-5)


@pytest.mark.parametrize("normalize", ["all", "pairs", "none"])
def test_gradients_agree_with_differences_of_the_loops(normalize):
    x, labels = np.random.default_rng(0).normal(0, 1, (6, 3)), np.array([0, 0, 0, 1, 1, 2])
    options = {"normalize": normalize}
    _, (got,) = value_and_gradients(lambda x: angular_all_pairs(x, labels, **options), x.astype("f4"))
    (want,) = difference_quotients(lambda x: pairwise.angular_all_pairs(x, labels, **options), x)
    agree(got, want, 1e-4, 2e-5)
    _, got = value_and_gradients(
        lambda x, z: angular_all_pairs(x, labels, z, labels, **options), x.astype("f4"), x[::-1].astype("f4")
    )
    want = difference_quotients(lambda x, z: pairwise.angular_all_pairs(x, labels, z, labels, **options), x, x[::-1])
    for gradient, quotient in zip(got, want, strict=True):
        agree(gradient, quotient, 1e-4, 2e-5)


def test_long_vectors_get_the_largest_term():
    # One negative along the anchor, one along the positive, both far: the sum lies beyond float32's exponents.
    x = np.array([[10.0, 0.0], [0.0, 10.0], [10.0, 0.0], [0.0, 10.0]])
    labels = [0, 0, 1, 1]
    value, (gradient,) = value_and_gradients(lambda x: angular_all_pairs(x, labels, normalize="none"), x.astype("f4"))
    agree(value, pairwise.angular_all_pairs(x, labels, normalize="none"), 2e-3)
    assert np.isfinite(gradient).all()
    assert np.abs(gradient).max() > 0


def test_lengths_count_only_where_vectors_keep_them():
    scaled = {n: float(array(angular_all_pairs(3 * ALL, LABELS, normalize=n))) for n in ("all", "pairs", "none")}
    agree(scaled["all"], angular_all_pairs(ALL, LABELS))
    assert round(scaled["pairs"], 2) == 9.68
    assert scaled["none"] > 2 * scaled["pairs"]


@pytest.mark.parametrize("angle", [0.0, 90.0, -45.0])
def test_angles_out_of_range_are_named(angle):
    with pytest.raises(ValueError, match="between 0 and 90"):
        angular(ANCHORS, POSITIVES, angle=angle)


def test_unknown_normalisation_names_the_choices():
    with pytest.raises(ValueError, match="all, pairs, none"):
        angular_all_pairs(ALL, LABELS, normalize="l2")
