"""A bidirectional LSTM as loops over sequences and time, gates in the order of Keras (i, f, c, o)."""

from __future__ import annotations

import numpy as np


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def one_direction(sequence: np.ndarray, kernel, recurrent, bias) -> np.ndarray:
    """Outputs (T, u) of one sequence (T, d) read from its first row to its last."""
    units = recurrent.shape[0]
    hidden, cell, outputs = np.zeros(units), np.zeros(units), []
    for x in sequence:
        i, f, c, o = np.split(x @ kernel + hidden @ recurrent + bias, 4)
        cell = _sigmoid(f) * cell + _sigmoid(i) * np.tanh(c)
        hidden = _sigmoid(o) * np.tanh(cell)
        outputs.append(hidden)
    return np.array(outputs)


def bidirectional(x: np.ndarray, lengths, forward, backward) -> list[np.ndarray]:
    """Outputs (length_i, 2u) of the valid part of every sequence; weights are (kernel, recurrent, bias)."""
    outputs = []
    for sequence, length in zip(x, lengths, strict=True):
        ahead = one_direction(sequence[:length], *forward)
        back = one_direction(sequence[:length][::-1], *backward)[::-1]
        outputs.append(np.concatenate([ahead, back], axis=1))
    return outputs
