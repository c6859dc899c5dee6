"""Unit vectors and projections: values, precision, and what happens at zero."""

from __future__ import annotations

import numpy as np
import pytest
from keras import ops

from tests.losses.checks import agree, array, value_and_gradients
from tests.reference import matching
from xmkeras.losses.similarity import project, projection_scores, unit


@pytest.mark.parametrize("axis", [0, -1])
def test_unit_vectors_have_length_one(axis):
    x = np.random.default_rng(0).normal(0, 5, (4, 6))
    agree(np.linalg.norm(array(unit(x, axis)), axis=axis), 1)


def test_zero_vector_stays_zero_with_the_gradient_zero():
    x = np.array([[0.0, 0.0, 0.0], [3.0, 0.0, 4.0]], "f4")
    assert not array(unit(x))[0].any()
    _, (gradient,) = value_and_gradients(lambda x: ops.sum(unit(x)), x)
    assert not gradient[0].any()
    agree(gradient[1], [(0.2 - 0.6 * 0.28), 0.2, (0.2 - 0.8 * 0.28)])


def test_half_precision_comes_back_as_float32():
    # 300^2 is no float16.
    vectors = unit(ops.convert_to_tensor([[300.0, 400.0]], "float16"))
    assert ops.convert_to_numpy(vectors).dtype == np.float32
    agree(vectors, [[0.6, 0.8]])


def test_scores_normalise_the_targets_only():
    scores = projection_scores(np.array([[2.0, 0.0], [1.0, 1.0]]), np.array([[5.0, 0.0], [0.0, 0.1]]))
    agree(scores, [[2, 0], [1, 1]])


def test_projection_agrees_with_the_loops():
    x, onto = np.random.default_rng(1).normal(0, 2, (2, 5, 4))
    agree(project(x, onto), matching.project(x, onto), atol=1e-5)
