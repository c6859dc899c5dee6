"""CMPM against the published numbers, a loop twin, and inputs that break naive versions."""

from __future__ import annotations

import json
import pathlib

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.reference import matching
from xmkeras.losses.cmpm import cmpm, cmpm_terms

VECTORS = json.loads((pathlib.Path(__file__).parents[1] / "vectors.json").read_text())


def batch(seed: int, n: int, m: int, d: int, classes: int, spread: float = 1.0):
    random = np.random.default_rng(seed)
    image, text = random.normal(0, spread, (n, d)), random.normal(0, spread, (m, d))
    return image, text, random.integers(0, classes, n), random.integers(0, classes, m)


def value_and_gradients(image, text, labels, **options):
    image, text = tf.constant(image), tf.constant(text)
    with tf.GradientTape() as tape:
        tape.watch([image, text])
        value = cmpm(image, text, tf.constant(labels), **options)
    return value.numpy(), [g.numpy() for g in tape.gradient(value, [image, text])]


@pytest.fixture(scope="module")
def vectors():
    group = VECTORS["cmpm"]
    inputs = {key: np.array(group["inputs"][key]) for key in ("image", "text", "labels")}
    return inputs, group["expected"]


def test_agrees_with_the_published_terms(vectors):
    inputs, expected = vectors
    terms = cmpm_terms(**inputs)
    want = expected["stable_logsoftmax"]
    np.testing.assert_allclose([t.numpy() for t in terms], [want["i2t"], want["t2i"]], rtol=1e-5)
    assert abs(sum(t.numpy() for t in terms) - expected["bug_l2_mask"]["total"]) > 0.1


def test_agrees_with_the_reversed_divergence(vectors):
    inputs, expected = vectors
    terms = [t.numpy() for t in cmpm_terms(**inputs, divergence="qp")]
    np.testing.assert_allclose(terms, [expected["kl_q_p"]["i2t"], expected["kl_q_p"]["t2i"]], rtol=1e-5)


def test_gradients_agree(vectors):
    inputs, expected = vectors
    _, (image, text) = value_and_gradients(
        **{k: v.astype("f4" if k != "labels" else "i8") for k, v in inputs.items()}
    )
    np.testing.assert_allclose(image, expected["grad_image_stable_total"], atol=1e-5)
    np.testing.assert_allclose(text, expected["grad_text_stable_total"], atol=1e-5)


def test_stays_finite_where_probabilities_underflow():
    group = VECTORS["cmpm_large_norm"]
    value, gradients = value_and_gradients(**{k: np.array(v) for k, v in group["inputs"].items()})
    np.testing.assert_allclose(value, group["expected"]["stable_total"], rtol=1e-5)
    assert all(np.isfinite(g).all() for g in gradients)


@given(
    seed=st.integers(0, 2**31),
    n=st.integers(1, 7),
    m=st.integers(1, 7),
    d=st.integers(1, 6),
    classes=st.integers(1, 6),
    divergence=st.sampled_from(["pq", "qp"]),
    epsilon=st.sampled_from([1e-8, 1e-3]),
)
@settings(max_examples=60, deadline=None)
def test_agrees_with_the_loops(seed, n, m, d, classes, divergence, epsilon):
    image, text, labels, text_labels = batch(seed, n, m, d, classes, spread=2.0)
    options = {"text_labels": text_labels, "epsilon": epsilon, "divergence": divergence}
    got = [t.numpy() for t in cmpm_terms(image, text, labels, **options)]
    want = matching.cmpm_terms(image, text, labels, **options)
    np.testing.assert_allclose(got, want, rtol=2e-5, atol=2e-5)


def test_text_labels_default_to_the_images():
    image, text, labels, _ = batch(0, 5, 5, 4, 3)
    given_twice = cmpm(image, text, labels, text_labels=labels).numpy()
    np.testing.assert_allclose(cmpm(image, text, labels).numpy(), given_twice)


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("divergence", ["pq", "qp"])
@pytest.mark.parametrize(
    ("case", "n", "classes", "norm"),
    [
        ("random", 6, 3, 1.0),
        ("zero", 4, 2, 0.0),
        ("one class", 5, 1, 1.0),
        ("alone", 1, 1, 1.0),
        ("long", 6, 3, 1e4),
    ],
)
def test_degenerate_batches_have_finite_values_and_gradients(case, n, classes, norm, divergence, dtype):
    image, text, labels, _ = batch(1, n, n, 8, classes)
    image, text = (norm * x / np.linalg.norm(x, axis=1, keepdims=True) for x in (image, text))
    image, text = tf.cast(image, dtype), tf.cast(text, dtype)
    value, gradients = value_and_gradients(image, text, labels, divergence=divergence)
    assert value.dtype == np.float32
    assert np.isfinite(value)
    assert all(np.isfinite(g.astype("f4")).all() for g in gradients)


def test_one_zero_vector_among_others_is_finite():
    image, text, labels, _ = batch(2, 4, 4, 3, 4)
    image[1] = text[2] = 0
    value, gradients = value_and_gradients(image.astype("f4"), text.astype("f4"), labels)
    assert np.isfinite(value)
    assert all(np.isfinite(g).all() for g in gradients)


def test_no_match_at_all_costs_nothing():
    image, text, _, _ = batch(3, 3, 4, 5, 1)
    value = cmpm(image, text, np.zeros(3, int), text_labels=np.ones(4, int))
    assert value.numpy() == 0


def test_only_the_target_is_normalised():
    image, text, labels, _ = batch(4, 5, 5, 4, 5)
    i2t, t2i = (t.numpy() for t in cmpm_terms(image, text, labels))
    longer_i2t, longer_t2i = (t.numpy() for t in cmpm_terms(image, 3 * text, labels))
    np.testing.assert_allclose(i2t, longer_i2t, rtol=1e-6)
    assert abs(t2i - longer_t2i) > 1e-3


def test_unknown_divergence_names_the_choices():
    image, text, labels, _ = batch(0, 2, 2, 2, 2)
    with pytest.raises(ValueError, match="pq, qp"):
        cmpm(image, text, labels, divergence="js")
