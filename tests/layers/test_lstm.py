"""The LSTM against a loop, and its independence of padding."""

from __future__ import annotations

import keras
import numpy as np

from tests.reference import lstm as reference
from xmkeras.layers import PortableLSTM

LENGTHS = [5, 1, 3]


def inputs(steps: int = 5):
    x = np.random.default_rng(0).normal(size=(3, steps, 4)).astype("f4")
    return x, np.arange(steps) < np.array(LENGTHS)[:, None]


def test_agrees_with_the_loops_in_both_directions():
    x, mask = inputs()
    layer = keras.layers.Bidirectional(PortableLSTM(3, return_sequences=True))
    outputs = layer(x, mask=mask).numpy()
    weights = [
        [w.numpy().astype("f8") for w in d.cell.weights] for d in (layer.forward_layer, layer.backward_layer)
    ]
    for got, want in zip(outputs, reference.bidirectional(x, LENGTHS, *weights), strict=True):
        np.testing.assert_allclose(got[: len(want)], want, atol=1e-5)


def test_training_and_inference_agree():
    x, mask = inputs()
    layer = PortableLSTM(3, return_sequences=True)
    np.testing.assert_allclose(
        layer(x, mask=mask, training=True), layer(x, mask=mask, training=False), atol=1e-6
    )


def test_forget_bias_starts_at_one():
    layer = PortableLSTM(3)
    layer.build((None, None, 4))
    np.testing.assert_array_equal(layer.cell.bias.numpy(), [0] * 3 + [1] * 3 + [0] * 6)


def test_has_no_random_state():
    layer = keras.layers.Bidirectional(PortableLSTM(3, name="lstm"), name="both")
    layer.build((None, None, 4))
    parts = [
        f"both/{d}_lstm/lstm_cell/{w}"
        for d in ("forward", "backward")
        for w in ("kernel", "recurrent_kernel", "bias")
    ]
    assert [v.path for v in layer.variables] == parts
