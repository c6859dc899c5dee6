"""ADDR's classifiers, error matrix and regulariser as loops over pairs and elements, in float64."""

from __future__ import annotations

import math

import numpy as np


def _sigmoid(z: float) -> float:
    return 1 / (1 + math.exp(-z)) if z >= 0 else math.exp(z) / (1 + math.exp(z))


def fit(words, regions, steps=5, rate=1.0, decay=0.0) -> tuple[np.ndarray, float]:
    """One pair's classifier: words (t, d) are 1, regions (t, d) are 0."""
    weights, bias = np.zeros(len([*words, *regions][0])), 0.0
    data = [(x, 1.0) for x in words] + [(x, 0.0) for x in regions]
    for _ in range(steps):
        slope, offset = decay * weights, 0.0
        for x, target in data:
            miss = (_sigmoid(float(weights @ x) + bias) - target) / len(data)
            slope, offset = slope + miss * x, offset + miss
        weights, bias = weights - rate * slope, bias - rate * offset
    return weights, bias


def error(words, regions, weights, bias, mean: bool = True) -> float:
    """Logistic error of one classifier on one pair."""
    costs = []
    for elements, sign in ((words, 1.0), (regions, -1.0)):
        for x in elements:
            z = -sign * (float(weights @ x) + bias)
            costs.append(max(z, 0.0) + math.log1p(math.exp(-abs(z))))
    return sum(costs) / (len(costs) if mean else 1)


def regulariser(errors, q, r, margin=0.2, as_printed=False) -> float:
    """The mean over pairs p of R1(p, q) + R2(p, r)."""
    total = 0.0
    for p in range(len(errors)):
        if q[p] != p:
            total += max(0.0, margin + errors[p][p] - errors[p][q[p]])
            total += max(0.0, margin + errors[q[p]][q[p]] - errors[q[p]][p])
        if r[p] != p:
            a, b = (q[p], r[p]) if as_printed else (r[p], p)
            total += max(0.0, margin + errors[a][a] - errors[a][b])
            total += max(0.0, margin + errors[p][p] - errors[p][r[p]])
    return total / len(errors)
