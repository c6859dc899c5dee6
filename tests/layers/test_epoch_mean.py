"""Means over epochs, in graph and out of it, and what a checkpoint keeps."""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf

from xmkeras.layers import EpochMean


def built(**options) -> EpochMean:
    layer = EpochMean(name="mean", **options)
    layer.build(())
    return layer


def test_each_epoch_has_its_mean():
    layer, seen = built(initial=7.0), []
    for epoch in ([1.0, 2.0, 6.0], [4.0], [0.5, -1.5]):
        layer.roll()
        seen.append(layer.mean)
        for value in epoch:
            assert float(layer(tf.constant(value))) == value
    layer.roll()
    assert [*seen, layer.mean] == [7.0, 3.0, 4.0, -0.5]


def test_an_epoch_without_values_keeps_the_last_mean():
    layer = built()
    layer(tf.constant(3.0))
    layer.roll()
    layer.roll()
    assert layer.mean == 3.0


def test_it_adds_inside_a_graph_and_lets_the_gradient_through():
    layer, weight = built(), tf.Variable(2.0)

    @tf.function
    def step():
        with tf.GradientTape() as tape:
            loss = layer(weight * weight)
        return tape.gradient(loss, weight)

    assert [float(step()) for _ in range(3)] == [4.0] * 3
    assert (float(layer.total), float(layer.count)) == (12.0, 3.0)


def test_sums_are_float32_in_half_precision():
    keras.config.set_dtype_policy("mixed_float16")
    try:
        layer = built()
        for _ in range(3):
            layer(tf.constant(1e5))
    finally:
        keras.config.set_dtype_policy("float32")
    layer.roll()
    assert layer.mean == 1e5


def test_its_variables_continue_an_epoch():
    whole, cut = built(), built()
    for value in (1.0, 2.0):
        whole(tf.constant(value))
    cut.set_weights(whole.get_weights())
    for layer in (whole, cut):
        layer(tf.constant(9.0))
        layer.roll()
        assert layer.mean == 4.0
    assert [v.path for v in cut.variables] == ["mean/total", "mean/count", "mean/mean"]
    assert not cut.trainable_variables
    assert EpochMean.from_config(built(initial=2.0).get_config()).initial == np.float32(2.0)
