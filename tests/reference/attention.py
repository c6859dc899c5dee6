"""Attention over a feature map written out as loops over positions, in float64."""

from __future__ import annotations

import math

import numpy as np


def _softmax(values) -> list[float]:
    top = max(values)
    exponentials = [math.exp(v - top) for v in values]
    return [e / sum(exponentials) for e in exponentials]


def pool(feature_map, u, kind, weights, axis="positions") -> np.ndarray:
    """One map (H, W, c) and u (l,) to (c,); `weights` has W1 and, where the kind needs them, W2, w or W."""
    positions = [feature_map[i, j] for i in range(feature_map.shape[0]) for j in range(feature_map.shape[1])]
    scores = []
    for q in positions:
        mapped, steer = weights["W1"] @ q, weights["W2"] @ u if "W2" in weights else u
        if kind == "multiplicative":
            scores.append([float(mapped @ steer)] * len(q))
        elif kind == "multi_dimensional":
            scores.append([float(column @ np.tanh(mapped + steer)) for column in weights["W"].T])
        else:
            scores.append([float(weights["w"] @ np.tanh(mapped + steer))] * len(q))
    pooled = np.zeros(len(positions[0]))
    for k in range(len(pooled)):
        if axis == "positions":
            shares = _softmax([row[k] for row in scores])
        else:
            shares = [_softmax(row)[k] for row in scores]
        pooled[k] = sum(share * q[k] for share, q in zip(shares, positions, strict=True))
    return pooled
