"""CMPM and the classification losses written out as loops over pairs and classes, in float64."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

EPSILON = 1e-8


def _dot(a: np.ndarray, b: np.ndarray) -> float:
    return float(sum(float(x) * float(y) for x, y in zip(a, b, strict=True)))


def _unit(a: np.ndarray) -> np.ndarray:
    length = math.sqrt(_dot(a, a))
    return np.asarray(a, np.float64) / length if length else np.zeros(len(a))


def _log_softmax(scores: Sequence[float]) -> list[float]:
    top = max(scores)
    log_sum = top + math.log(sum(math.exp(s - top) for s in scores))
    return [s - log_sum for s in scores]


def _one_direction(queries, targets, query_labels, target_labels, epsilon, divergence) -> float:
    losses = []
    for query, label in zip(queries, query_labels, strict=True):
        matches = [1.0 if label == other else 0.0 for other in target_labels]
        if sum(matches) == 0:
            continue
        log_p = _log_softmax([_dot(query, _unit(target)) for target in targets])
        loss = 0.0
        for log_p_j, match in zip(log_p, matches, strict=True):
            q = match / sum(matches)
            if divergence == "pq":
                loss += math.exp(log_p_j) * (log_p_j - math.log(q + epsilon))
            elif q > 0:
                loss += q * (math.log(q) - log_p_j)
        losses.append(loss)
    return sum(losses) / len(losses) if losses else 0.0


def cmpm_terms(
    image, text, labels, text_labels=None, epsilon=EPSILON, divergence="pq"
) -> tuple[float, float]:
    """Equations 1 to 5 of paper 003: image to text and text to image."""
    text_labels = labels if text_labels is None else text_labels
    return (
        _one_direction(image, text, labels, text_labels, epsilon, divergence),
        _one_direction(text, image, text_labels, labels, epsilon, divergence),
    )


def softmax_loss(x, labels, weights, bias=None) -> float:
    """Equation 6: mean cross-entropy of a linear classifier whose columns are classes."""
    total = 0.0
    for row, label in zip(x, labels, strict=True):
        logits = [
            _dot(row, weights[:, c]) + (0.0 if bias is None else float(bias[c]))
            for c in range(weights.shape[1])
        ]
        total -= _log_softmax(logits)[label]
    return total / len(x)


def norm_softmax(x, labels, weights, bias=None, scale=1.0) -> float:
    """Equation 7: the same with columns of length `scale`."""
    columns = [scale * _unit(weights[:, c]) for c in range(weights.shape[1])]
    return softmax_loss(x, labels, np.stack(columns, axis=1), bias)


def project(x, onto) -> np.ndarray:
    """Row-wise vector projection."""
    return np.stack([_dot(a, _unit(b)) * _unit(b) for a, b in zip(x, onto, strict=True)])


def cmpc_terms(image, text, labels, weights, scale=1.0) -> tuple[float, float]:
    """Equations 8 and 9: images on texts and texts on images."""
    return (
        norm_softmax(project(image, text), labels, weights, scale=scale),
        norm_softmax(project(text, image), labels, weights, scale=scale),
    )
