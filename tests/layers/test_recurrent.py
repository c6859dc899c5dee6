"""The GRU against a loop, and what it shares with the LSTM."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from xmkeras.layers import PortableGRU, PortableLSTM

LENGTHS = [5, 1, 3]


def inputs(steps: int = 5):
    x = np.random.default_rng(0).normal(size=(3, steps, 4)).astype("f4")
    return x, np.arange(steps) < np.array(LENGTHS)[:, None]


def gru_loop(x: np.ndarray, kernel: np.ndarray, recurrent: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """The states (t, u) of a sequence (t, f); the reset gate acts behind the recurrent product, as in cuDNN."""
    state, states = np.zeros(len(recurrent)), []
    for row in x:
        update, reset, new = np.split(row @ kernel + bias[0], 3)
        from_update, from_reset, from_new = np.split(state @ recurrent + bias[1], 3)
        update, reset = (1 / (1 + np.exp(-gate)) for gate in (update + from_update, reset + from_reset))
        state = update * state + (1 - update) * np.tanh(new + reset * from_new)
        states.append(state)
    return np.array(states)


def test_a_gru_agrees_with_the_loop():
    x, mask = inputs()
    layer = PortableGRU(3, return_sequences=True, bias_initializer="random_normal")
    outputs = layer(x, mask=mask).numpy()
    weights = [weight.numpy().astype("f8") for weight in layer.cell.weights]
    for row, got, length in zip(x, outputs, LENGTHS, strict=True):
        np.testing.assert_allclose(got[:length], gru_loop(row[:length], *weights), atol=1e-5)


@pytest.mark.parametrize("kind", [PortableGRU, PortableLSTM])
def test_training_and_inference_agree(kind: type[keras.layers.RNN]):
    x, mask = inputs()
    layer = kind(3, return_sequences=True)
    np.testing.assert_allclose(layer(x, mask=mask, training=True), layer(x, mask=mask, training=False), atol=1e-6)


def test_forget_bias_starts_at_one():
    layer = PortableLSTM(3)
    layer.build((None, None, 4))
    np.testing.assert_array_equal(layer.cell.bias.numpy(), [0] * 3 + [1] * 3 + [0] * 6)


@pytest.mark.parametrize(("kind", "cell"), [(PortableGRU, "gru_cell"), (PortableLSTM, "lstm_cell")])
def test_has_no_random_state(kind: type[keras.layers.RNN], cell: str):
    layer = keras.layers.Bidirectional(kind(3, name="states"), name="both")
    layer.build((None, None, 4))
    parts = [
        f"both/{d}_states/{cell}/{w}" for d in ("forward", "backward") for w in ("kernel", "recurrent_kernel", "bias")
    ]
    assert [v.path for v in layer.variables] == parts
