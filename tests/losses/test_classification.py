"""The classification losses against the published numbers and loop twins."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tests.losses.checks import (
    agree,
    array,
    difference_quotients,
    dtypes,
    random_batches,
    random_sides,
    rounded,
    seeds,
    sizes,
    value_and_gradients,
    vectors,
)
from tests.reference import matching
from xmkeras.losses import classification

IMAGE, TEXT, LABELS, WEIGHTS, BIAS, EXPECTED = vectors("cmpc", "image", "text", "labels", "W", "bias")


def test_cmpc_agrees_with_the_published_terms():
    image_on_text, text_on_image = classification.cmpc_terms(IMAGE, TEXT, LABELS, WEIGHTS)
    agree(image_on_text, EXPECTED["ipt"])
    agree(text_on_image, EXPECTED["tpi"])
    agree(classification.cmpc(IMAGE, TEXT, LABELS, WEIGHTS), EXPECTED["total"])
    agree(classification.cmpc(IMAGE, TEXT, LABELS, WEIGHTS, scale=2.0), EXPECTED["total_r2"])


def test_norm_softmax_agrees_and_normalises_columns():
    agree(classification.norm_softmax(IMAGE, LABELS, WEIGHTS), EXPECTED["norm_softmax_image"])
    agree(classification.norm_softmax(TEXT, LABELS, WEIGHTS), EXPECTED["norm_softmax_text"])
    agree(classification.norm_softmax(IMAGE, LABELS, WEIGHTS, BIAS), EXPECTED["norm_softmax_image_bias"])
    value = array(classification.norm_softmax(IMAGE, LABELS, WEIGHTS))
    assert abs(value - EXPECTED["wrong_axis_image"]) > 0.05


def test_plain_softmax_agrees():
    # The published value has a bias.
    agree(classification.softmax_loss(IMAGE, LABELS, WEIGHTS, BIAS), EXPECTED["plain_softmax_image"])


@given(seed=seeds, n=sizes, d=st.integers(1, 6), classes=st.integers(1, 6), dtype=dtypes)
@random_batches
def test_agrees_with_the_loops(seed, n, d, classes, dtype):
    (image, x), (text, z), labels, _ = random_sides(seed, n, n, d, classes, dtype)
    random = np.random.default_rng(seed + 1)
    (weights, w), (bias, b) = (rounded(random.normal(0, 1, shape), dtype) for shape in ((d, classes), (classes,)))
    pairs = [
        (classification.softmax_loss(image, labels, weights, bias), matching.softmax_loss(x, labels, w, b)),
        (classification.norm_softmax(text, labels, weights, bias, 3.0), matching.norm_softmax(z, labels, w, b, 3.0)),
        (
            classification.cmpc(image, text, labels, weights, scale=2.0),
            sum(matching.cmpc_terms(x, z, labels, w, 2.0)),
        ),
        (
            classification.projection_softmax(image, text, labels, weights, bias),
            matching.softmax_loss(matching.project(x, z), labels, w, b)
            + matching.softmax_loss(matching.project(z, x), labels, w, b),
        ),
    ]
    for got, want in pairs:
        agree(got, want, 2e-5, 2e-5)


def test_gradients_agree_with_differences_of_the_loops():
    random = np.random.default_rng(5)
    inputs, labels = [random.normal(0, 2, shape) for shape in ((4, 3), (4, 3), (3, 3))], np.array([0, 2, 1, 0])
    _, got = value_and_gradients(
        lambda x, z, w: classification.cmpc(x, z, labels, w), *(x.astype("f4") for x in inputs)
    )
    want = difference_quotients(lambda x, z, w: sum(matching.cmpc_terms(x, z, labels, w)), *inputs)
    for gradient, quotient in zip(got, want, strict=True):
        agree(gradient, quotient, 1e-4, 2e-5)


def test_zero_class_weights_are_finite():
    value, (gradient,) = value_and_gradients(
        lambda w: classification.cmpc(IMAGE, TEXT, LABELS, w), np.zeros_like(WEIGHTS, "f4")
    )
    assert np.isfinite(value)
    assert np.isfinite(gradient).all()
