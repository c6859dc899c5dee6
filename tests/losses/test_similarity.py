"""Unit vectors and projections: values, precision, and what happens at zero."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tests.reference import matching
from xmkeras.losses.similarity import project, projection_scores, unit


@pytest.mark.parametrize("axis", [0, -1])
def test_unit_vectors_have_length_one(axis):
    x = np.random.default_rng(0).normal(0, 5, (4, 6))
    np.testing.assert_allclose(np.linalg.norm(unit(x, axis).numpy(), axis=axis), 1, rtol=1e-6)


def test_zero_vector_stays_zero_with_a_finite_gradient():
    x = tf.zeros((2, 3))
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = unit(x)
    assert not y.numpy().any()
    assert np.isfinite(tape.gradient(y, x, output_gradients=tf.ones((2, 3))).numpy()).all()


def test_half_precision_comes_back_as_float32():
    assert unit(tf.cast([[3.0, 4.0]], "float16")).dtype == tf.float32
    # 300^2 is no float16.
    np.testing.assert_allclose(unit(tf.cast([[300.0, 400.0]], "float16")).numpy(), [[0.6, 0.8]], rtol=1e-6)


def test_scores_normalise_the_targets_only():
    scores = projection_scores(np.array([[2.0, 0.0], [1.0, 1.0]]), np.array([[5.0, 0.0], [0.0, 0.1]])).numpy()
    np.testing.assert_allclose(scores, [[2, 0], [1, 1]], atol=1e-6)


def test_projection_agrees_with_the_loops():
    x, onto = np.random.default_rng(1).normal(0, 2, (2, 5, 4))
    np.testing.assert_allclose(project(x, onto).numpy(), matching.project(x, onto), atol=1e-5)
