"""CMPM against the published numbers, a loop twin, and inputs that break naive versions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.losses.checks import (
    agree,
    array,
    dtypes,
    random_batches,
    random_sides,
    seeds,
    sizes,
    value_and_gradients,
    vectors,
)
from tests.reference import matching
from xmkeras.losses.cmpm import cmpm, cmpm_terms

IMAGE, TEXT, LABELS, EXPECTED = vectors("cmpm", "image", "text", "labels")


def batch(seed: int, n: int, m: int, d: int, classes: int):
    (_, image), (_, text), labels, text_labels = random_sides(seed, n, m, d, classes, "float32")
    return image, text, labels, text_labels


def test_agrees_with_the_published_terms():
    terms = cmpm_terms(IMAGE, TEXT, LABELS)
    want = EXPECTED["stable_logsoftmax"]
    agree(terms[0], want["i2t"])
    agree(terms[1], want["t2i"])
    assert abs(array(cmpm(IMAGE, TEXT, LABELS)) - EXPECTED["bug_l2_mask"]["total"]) > 0.1


def test_agrees_with_the_reversed_divergence():
    terms = cmpm_terms(IMAGE, TEXT, LABELS, divergence="qp")
    agree(terms[0], EXPECTED["kl_q_p"]["i2t"])
    agree(terms[1], EXPECTED["kl_q_p"]["t2i"])


def test_gradients_agree():
    _, (image, text) = value_and_gradients(lambda x, z: cmpm(x, z, LABELS), IMAGE.astype("f4"), TEXT.astype("f4"))
    agree(image, EXPECTED["grad_image_stable_total"], atol=1e-5)
    agree(text, EXPECTED["grad_text_stable_total"], atol=1e-5)


def test_stays_finite_where_probabilities_underflow():
    image, text, labels, expected = vectors("cmpm_large_norm", "image", "text", "labels")
    value, gradients = value_and_gradients(lambda x, z: cmpm(x, z, labels), image.astype("f4"), text.astype("f4"))
    agree(value, expected["stable_total"])
    assert all(np.isfinite(g).all() for g in gradients)


@given(
    seed=seeds,
    n=sizes,
    m=sizes,
    d=st.integers(1, 6),
    dtype=dtypes,
    classes=st.integers(1, 6),
    divergence=st.sampled_from(["pq", "qp"]),
    epsilon=st.sampled_from([1e-8, 1e-3]),
)
@random_batches
def test_agrees_with_the_loops(seed, n, m, d, dtype, classes, divergence, epsilon):
    (image, x), (text, z), labels, text_labels = random_sides(seed, n, m, d, classes, dtype)
    options = {"text_labels": text_labels, "epsilon": epsilon, "divergence": divergence}
    want = matching.cmpm_terms(x, z, labels, **options)
    for got, term in zip(cmpm_terms(image, text, labels, **options), want, strict=True):
        agree(got, term, 2e-5, 2e-5)


def test_text_labels_default_to_the_images():
    image, text, labels, _ = batch(0, 5, 5, 4, 3)
    agree(cmpm(image, text, labels), array(cmpm(image, text, labels, text_labels=labels)))


def test_no_match_at_all_costs_nothing():
    image, text, _, _ = batch(3, 3, 4, 5, 1)
    assert array(cmpm(image, text, np.zeros(3, int), text_labels=np.ones(4, int))) == 0


def test_only_the_target_is_normalised():
    image, text, labels, _ = batch(4, 5, 5, 4, 5)
    i2t, t2i = (array(t) for t in cmpm_terms(image, text, labels))
    longer_i2t, longer_t2i = (array(t) for t in cmpm_terms(image, 3 * text, labels))
    agree(i2t, longer_i2t)
    assert abs(t2i - longer_t2i) > 1e-3


def test_unknown_divergence_names_the_choices():
    image, text, labels, _ = batch(0, 2, 2, 2, 2)
    with pytest.raises(ValueError, match="pq, qp"):
        cmpm(image, text, labels, divergence="js")


def test_labels_that_do_not_fit_are_one_sentence():
    image, text, labels = np.ones((4, 3), "f4"), np.ones((3, 3), "f4"), np.arange(4)
    with pytest.raises(ValueError, match="The texts are 3 and their labels 4"):
        cmpm(image, text, labels)
    with pytest.raises(ValueError, match=r"must have the shape \(n,\)"):
        cmpm(image, image, labels[:, None])
    for kind in ("i4", "f4"):
        agree(cmpm(image, image, labels, text_labels=labels.astype(kind)), array(cmpm(image, image, labels)))
