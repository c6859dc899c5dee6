"""The fused update is Keras' own, weight decay and bias correction included."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from xmkeras.training.fused_adam import FusedAdam


def train(kind: type[keras.optimizers.Adam], dtype: str = "float32", **options) -> list[np.ndarray]:
    generator = np.random.default_rng(0)
    variables = [keras.Variable(generator.normal(size=shape), dtype=dtype) for shape in ((7, 5), (3,))]
    optimizer = kind(learning_rate=0.05, **options)
    optimizer.build(variables)

    @tf.function
    def step(gradients):
        optimizer.apply(gradients, variables)

    for _ in range(6):
        step([tf.constant(generator.normal(size=v.shape), tf.float32) for v in variables])
    return [np.asarray(variable) for variable in (*variables, *optimizer.variables)]


@pytest.mark.parametrize(
    "options", [{}, {"beta_1": 0.5, "beta_2": 0.9, "epsilon": 1e-3}, {"weight_decay": 0.1}], ids=str
)
def test_six_steps_are_those_of_keras(options):
    for ours, theirs in zip(train(FusedAdam, **options), train(keras.optimizers.Adam, **options), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=2e-6)


def test_two_runs_are_equal_bit_by_bit():
    for one, two in zip(train(FusedAdam), train(FusedAdam), strict=True):
        assert one.tobytes() == two.tobytes()
