"""Poolings over the valid tokens of padded sequences, one sequence at a time."""

from __future__ import annotations

import numpy as np


def max_pool(x: np.ndarray, lengths, zero_pad_compat: bool = False) -> np.ndarray:
    """Maximum over the first `lengths[i]` rows of `x[i]`, or over these and zeros for the padded rows."""
    pooled = []
    for sequence, length in zip(x, lengths, strict=True):
        best = [max(sequence[t][k] for t in range(length)) for k in range(x.shape[2])]
        if zero_pad_compat and length < x.shape[1]:
            best = [max(value, 0.0) for value in best]
        pooled.append(best)
    return np.array(pooled)


def mean_pool(x: np.ndarray, lengths) -> np.ndarray:
    """Mean over the first `lengths[i]` rows of `x[i]`."""
    return np.array([sequence[:length].mean(axis=0) for sequence, length in zip(x, lengths, strict=True)])


def last_pool(x: np.ndarray, lengths) -> np.ndarray:
    """First half of the last valid row beside second half of the first row."""
    half = x.shape[2] // 2
    pairs = zip(x, lengths, strict=True)
    return np.array([np.concatenate([s[n - 1][:half], s[0][half:]]) for s, n in pairs])
