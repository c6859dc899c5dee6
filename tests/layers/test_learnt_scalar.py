"""A learnt number: its first value, its gradient, its least value."""

from __future__ import annotations

import pytest
import tensorflow as tf

from xmkeras.layers import LearntScalar


@pytest.mark.parametrize(("positive", "slope"), [(True, 0.5), (False, 1.0)])
def test_it_begins_at_its_value_and_has_a_gradient(positive, slope):
    layer = LearntScalar(0.5, positive=positive, name="scalar")
    with tf.GradientTape() as tape:
        value = layer(None)
    assert float(value) == pytest.approx(0.5)
    assert float(tape.gradient(value, layer.number.value)) == pytest.approx(slope)
    again = LearntScalar.from_config(layer.get_config())
    assert float(again(None)) == pytest.approx(0.5)


def test_below_the_least_it_stands_still():
    layer = LearntScalar(0.5, positive=True, least=0.01)
    layer.number.assign(-50.0)
    assert float(layer(None)) == pytest.approx(0.01)
