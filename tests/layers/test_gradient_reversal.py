"""Gradient reversal against the published numbers, its factor as saved state, and in a traced function."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import ops

from tests.losses.checks import agree, array, value_and_gradients, vectors
from xmkeras.layers import GradientReversal

X, UPSTREAM, EXPECTED = vectors("grl", "x", "upstream_grad")
FACTOR = 0.5


def gradient_of(layer):
    weights = UPSTREAM.astype("f4")
    return value_and_gradients(lambda x: ops.sum(layer(x) * weights), X.astype("f4"))[1][0]


def test_forward_and_backward_agree_with_the_published_numbers():
    layer = GradientReversal(FACTOR)
    agree(layer(X.astype("f4")), EXPECTED["forward"])
    agree(gradient_of(layer), EXPECTED["input_grad"])


def test_a_new_factor_counts_at_once():
    layer = GradientReversal(FACTOR)
    layer.factor.assign(-2.0)
    agree(gradient_of(layer), 2 * UPSTREAM)


def test_the_factor_is_saved_and_never_trained(tmp_path):
    inputs = keras.Input((3,))
    layer = GradientReversal(FACTOR, name="reversal")
    model = keras.Model(inputs, keras.layers.Dense(2)(layer(inputs)))
    assert [v.name for v in layer.non_trainable_variables] == ["factor"]
    assert not layer.trainable_variables
    layer.factor.assign(0.25)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    agree(again.get_layer("reversal").factor, 0.25)
    agree(again(X[None].astype("f4")), array(model(X[None].astype("f4"))), 0, 0)
    assert again.get_layer("reversal").get_config()["factor"] == FACTOR


@pytest.mark.parametrize("dtype", ["mixed_float16", "mixed_bfloat16"])
def test_half_precision_stays_half(dtype):
    layer = GradientReversal(FACTOR, dtype=dtype)
    half = ops.convert_to_tensor(X.astype("f4"), dtype.removeprefix("mixed_"))
    value, (gradient,) = value_and_gradients(lambda x: ops.cast(ops.sum(layer(x)), "float32"), half)
    agree(value, X.sum())
    agree(gradient, np.full(3, -FACTOR))
    assert layer(half).dtype == half.dtype
    assert keras.backend.standardize_dtype(layer.factor.dtype) == "float32"


def test_a_model_trains_its_features_away_from_the_head():
    keras.utils.set_random_seed(0)
    inputs = keras.Input((2,))
    features = keras.layers.Dense(1, use_bias=False, name="features")
    outputs = keras.layers.Dense(1, use_bias=False, name="head")(GradientReversal(1.0)(features(inputs)))
    model = keras.Model(inputs, outputs)
    model.compile(keras.optimizers.SGD(0.01), loss="mse")
    plain = keras.Model(inputs, model.get_layer("head")(features(inputs)))
    plain.compile(keras.optimizers.SGD(0.01), loss="mse")
    x, y = np.array([[1.0, 2.0], [3.0, -1.0]], "f4"), np.array([[1.0], [0.0]], "f4")
    start = [array(w) for w in model.get_weights()]
    model.fit(x, y, verbose=0)
    against = [array(w) for w in model.get_weights()]
    model.set_weights(start)
    plain.fit(x, y, verbose=0)
    along = [array(w) for w in model.get_weights()]
    agree(against[0] - start[0], start[0] - along[0], 1e-4, 1e-7)
    agree(against[-1], along[-1])
