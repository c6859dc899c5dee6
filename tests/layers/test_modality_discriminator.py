"""TIMAM's discriminator by hand, and which statistics it uses and moves."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from xmkeras.layers.modality_discriminator import ModalityDiscriminator


def built(**options) -> ModalityDiscriminator:
    keras.utils.set_random_seed(0)
    layer = ModalityDiscriminator(5, **options)
    layer.build((None, 3))
    for variable in (layer.gamma, layer.beta, layer.logit.bias):
        variable.assign(np.random.default_rng(1).normal(size=variable.shape))
    return layer


def embeddings(n: int = 7) -> np.ndarray:
    return np.random.default_rng(2).normal(3, 2, (n, 3)).astype(np.float32)


def by_hand(layer: ModalityDiscriminator, x: np.ndarray, mean: np.ndarray, variance: np.ndarray) -> np.ndarray:
    x = (x @ np.asarray(layer.hidden.kernel) - mean) / np.sqrt(variance + layer.epsilon)
    x = x * np.asarray(layer.gamma) + np.asarray(layer.beta)
    x = np.where(x > 0, x, 0.2 * x)
    return x @ np.asarray(layer.logit.kernel) + np.asarray(layer.logit.bias)


def test_it_normalises_by_the_statistics_of_the_call():
    layer, x = built(), embeddings()
    hidden = x @ np.asarray(layer.hidden.kernel)
    expected = by_hand(layer, x, hidden.mean(axis=0), hidden.var(axis=0))
    np.testing.assert_allclose(layer(x), expected, atol=1e-4)
    assert layer(x).shape == (7, 1)


def test_mean_and_scale_of_a_modality_are_hidden():
    layer, x = built(epsilon=1e-9), embeddings()
    np.testing.assert_allclose(layer(5 * x + 2), layer(x), atol=1e-3)


def test_only_its_own_step_moves_the_statistics():
    layer, x = built(momentum=0.75), embeddings()
    layer(x)
    np.testing.assert_array_equal(layer.moving_mean, np.zeros(5))
    layer(x, update_statistics=True)
    hidden = x @ np.asarray(layer.hidden.kernel)
    np.testing.assert_allclose(layer.moving_mean, 0.25 * hidden.mean(axis=0), rtol=1e-4)
    np.testing.assert_allclose(layer.moving_variance, 0.75 + 0.25 * hidden.var(axis=0), rtol=1e-4)
    expected = by_hand(layer, x, np.asarray(layer.moving_mean), np.asarray(layer.moving_variance))
    np.testing.assert_allclose(layer(x, batch_statistics=False), expected, atol=1e-4)


def test_it_computes_in_float32_under_every_policy():
    try:
        keras.config.set_dtype_policy("mixed_float16")
        assert built()(embeddings()).dtype == "float32"
    finally:
        keras.config.set_dtype_policy("float32")


def test_it_survives_its_config():
    layer = ModalityDiscriminator(5, slope=0.1, momentum=0.5, epsilon=1e-5)
    copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    assert copy.get_config() == layer.get_config()


@pytest.mark.parametrize("names", [("hidden/kernel", "gamma", "beta", "logit/kernel", "logit/bias")])
def test_its_variables_have_fixed_names(names):
    layer = ModalityDiscriminator(5, name="discriminator")
    layer.build((None, 3))
    assert {variable.path for variable in layer.trainable_variables} == {f"discriminator/{name}" for name in names}
