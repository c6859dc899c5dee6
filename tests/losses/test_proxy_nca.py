"""Proxy-NCA in both forms against the published numbers and a loop twin."""

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
from xmkeras.losses import proxy_nca

X, LABELS, PROXIES, EXPECTED = vectors("proxy_nca", "x", "labels", "proxies")


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("with_pos_in_denominator_s3_smooth0p1", {}),
        ("with_pos_in_denominator_s1_p8_smooth0p1", {"scale": 1.0, "proxy_scale": 8.0}),
        ("with_pos_no_smooth_s1", {"scale": 1.0, "smoothing": 0.0}),
        ("original_excl_pos_s1", {"scale": 1.0, "positive_in_denominator": False}),
        ("original_excl_pos_s3", {"positive_in_denominator": False}),
    ],
)
def test_agrees_with_the_published_numbers(name, options):
    agree(proxy_nca(X, LABELS, PROXIES, **options), EXPECTED[name])


@given(seed=seeds, n=sizes, classes=sizes, dtype=dtypes, smoothing=st.sampled_from([0.0, 0.1, None]))
@random_batches
def test_agrees_with_the_loops(seed, n, classes, dtype, smoothing):
    (x, a), (proxies, p), labels, _ = random_sides(seed, n, classes, 4, classes, dtype)
    form = {"positive_in_denominator": False} if smoothing is None else {"smoothing": smoothing}
    got = proxy_nca(x, labels, proxies, scale=2.0, proxy_scale=1.5, **form)
    agree(got, pairwise.proxy_nca(a, labels, p, 2.0, 1.5, smoothing), 2e-5, 2e-5)


def test_gradients_agree_with_differences_of_the_loops():
    _, got = value_and_gradients(lambda x, p: proxy_nca(x, LABELS, p), X.astype("f4"), PROXIES.astype("f4"))
    want = difference_quotients(lambda x, p: pairwise.proxy_nca(x, LABELS, p), X, PROXIES)
    for gradient, quotient in zip(got, want, strict=True):
        agree(gradient, quotient, 1e-4, 1e-5)


def test_one_class_costs_nothing_in_either_form():
    for positive_in_denominator in (True, False):
        agree(proxy_nca(X, np.zeros(6, int), PROXIES[:1], positive_in_denominator=positive_in_denominator), 0)


def test_a_zero_vector_is_equally_far_from_all_proxies():
    value = array(proxy_nca(np.zeros((1, 4)), [1], PROXIES, smoothing=0.0))
    agree(value, np.log(3))


def test_the_original_form_has_no_smoothing():
    with pytest.raises(ValueError, match="has no smoothing"):
        proxy_nca(X, LABELS, PROXIES, smoothing=0.1, positive_in_denominator=False)
