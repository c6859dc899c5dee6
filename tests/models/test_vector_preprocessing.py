"""Preprocessing inside the towers: formulas, fitted statistics, faults."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from sklearn.feature_extraction.text import TfidfTransformer
from sklearn.metrics.pairwise import rbf_kernel

from xmkeras.errors import UserError
from xmkeras.models.vector_preprocessing import parse_steps, preprocess

X = np.random.default_rng(0).poisson(1.0, (20, 5)).astype(np.float32)
X[4] = 0.0


def apply(steps, examples=X, x=X):
    inputs = keras.Input((5,))
    return np.asarray(keras.Model(inputs, preprocess(inputs, steps, examples))(x))


def test_standardize():
    constant = X.copy()
    constant[:, 3] = 2
    y = apply(["standardize"], constant, constant)
    np.testing.assert_allclose(y.mean(axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(y.std(axis=0), [1, 1, 1, 0, 1], atol=1e-5)


def test_l2_leaves_a_zero_row():
    lengths = np.linalg.norm(apply(["l2"]), axis=1)
    np.testing.assert_allclose(np.delete(lengths, 4), 1, atol=1e-6)
    assert lengths[4] == 0


def test_tfidf_is_that_of_scikit_learn():
    expected = TfidfTransformer(norm="l2").fit_transform(X).toarray()
    np.testing.assert_allclose(apply(["tfidf", "l2"]), expected, atol=1e-6)


def test_roots_and_logarithms():
    np.testing.assert_allclose(apply(["sqrt"]), np.sqrt(X), atol=1e-6)
    np.testing.assert_allclose(apply(["log"]), np.log(np.maximum(X, 1e-6)), rtol=1e-5)


def test_inner_products_of_fourier_features_are_an_rbf_kernel():
    waves = apply(["fourier20000"])
    expected = rbf_kernel(X.astype(float), gamma=1 / (X.shape[1] * X.var()))
    np.testing.assert_allclose(waves @ waves.T, expected, atol=0.05)
    np.testing.assert_array_equal(apply(["fourier20000"]), waves)
    assert apply(["sqrt", "fourier"]).shape == (20, 2000)
    then = apply(["fourier7", "standardize"])
    np.testing.assert_allclose(then.mean(axis=0), 0, atol=1e-5)


def test_later_steps_are_fitted_on_what_the_earlier_ones_make():
    y = apply(["sqrt", "l2", "standardize"])
    np.testing.assert_allclose(y.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(y.std(axis=0), 1, atol=1e-4)


def test_without_examples_the_statistics_are_left_to_a_checkpoint():
    np.testing.assert_array_equal(apply(["standardize"], None), X)


def test_parsing():
    assert parse_steps("standardize, l2", "f") == ("standardize", "l2")
    assert parse_steps("none", "f") == parse_steps("", "f") == ()
    with pytest.raises(UserError, match="--image_preprocessing holds 'whiten'"):
        parse_steps("whiten", "image_preprocessing")
    assert parse_steps("sqrt,fourier300", "f") == ("sqrt", "fourier300")
    with pytest.raises(UserError, match=r"holds 'fourier0'; .* fourier1000"):
        parse_steps("fourier0", "f")
