"""N-pair loss against the published numbers and a loop twin."""

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
from xmkeras.losses import n_pair

ANCHORS, POSITIVES, DISTINCT, REPEATED, EXPECTED = vectors(
    "n_pair", "anchor", "positive", "labels_distinct", "labels_dup"
)


@pytest.mark.parametrize(
    ("name", "labels", "options"),
    [
        ("sohn_distinct", None, {}),
        ("tfa_distinct", DISTINCT, {}),
        ("tfa_dup", REPEATED, {}),
        ("bidirectional_distinct", None, {"bidirectional": True}),
        ("bidirectional_dup_soft", REPEATED, {"bidirectional": True}),
    ],
)
def test_agrees_with_the_published_numbers(name, labels, options):
    agree(n_pair(ANCHORS, POSITIVES, labels, **options), EXPECTED[name])


def test_the_sign_that_the_paper_prints_is_not_taken():
    agree(n_pair(ANCHORS, POSITIVES), -EXPECTED["seed002_eq6_as_printed"])


def test_l2_term_is_half_the_mean_squared_lengths():
    with_l2 = n_pair(ANCHORS, POSITIVES, l2=0.02)
    agree(with_l2, EXPECTED["sohn_distinct"] + 0.02 * EXPECTED["l2_term_mean_half_sq"])


@given(
    seed=seeds, n=sizes, m=sizes, dtype=dtypes, classes=st.integers(1, 5), labelled=st.booleans(), both=st.booleans()
)
@random_batches
def test_agrees_with_the_loops(seed, n, m, dtype, classes, labelled, both):
    (anchors, a), (positives, p), labels, others = random_sides(seed, n, m, 4, classes, dtype)
    if not labelled:
        labels = others = None
    got = n_pair(anchors, positives, labels, positive_labels=others, bidirectional=both)
    want = pairwise.n_pair(a, p, labels, others)
    agree(got, want + (pairwise.n_pair(p, a, others, labels) if both else 0), 2e-5, 2e-5)


def test_gradients_agree_with_differences_of_the_loops():
    _, got = value_and_gradients(lambda a, p: n_pair(a, p, REPEATED), ANCHORS.astype("f4"), POSITIVES.astype("f4"))
    want = difference_quotients(lambda a, p: pairwise.n_pair(a, p, REPEATED, REPEATED), ANCHORS, POSITIVES)
    for gradient, quotient in zip(got, want, strict=True):
        agree(gradient, quotient, 1e-4, 1e-5)


def test_no_match_costs_nothing():
    agree(n_pair(ANCHORS, POSITIVES, np.zeros(4, int), positive_labels=np.ones(4, int)), 0)
