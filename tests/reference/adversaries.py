"""Adversarial and smoothed losses written out as loops over samples and classes, in float64."""

from __future__ import annotations

import math


def _log_softmax(row) -> list[float]:
    top = max(row)
    normaliser = top + math.log(sum(math.exp(v - top) for v in row))
    return [v - normaliser for v in row]


def smoothed_softmax(logits, labels, smoothing, form) -> float:
    total = 0.0
    for row, label in zip(logits, labels, strict=True):
        for c, log_p in enumerate(_log_softmax(row)):
            right = 1.0 if c == label else 0.0
            if form == "all":
                target = (1 - smoothing) * right + smoothing / len(row)
            elif len(row) == 1:
                target = 1.0
            else:
                target = 1 - smoothing if right else smoothing / (len(row) - 1)
            total -= target * log_p
    return total / len(logits)


def two_way(image_logits, text_logits) -> float:
    images = -sum(_log_softmax(row)[1] for row in image_logits) / len(image_logits)
    return images - sum(_log_softmax(row)[0] for row in text_logits) / len(text_logits)


def _log1p_exp(z: float) -> float:
    return max(z, 0.0) + math.log1p(math.exp(-abs(z)))


def discriminator(image_logits, text_logits, image_targets, text_targets) -> float:
    """Binary cross-entropy -t log s(z) - (1 - t) log(1 - s(z)), images plus texts."""
    sides = []
    for logits, targets in ((image_logits, image_targets), (text_logits, text_targets)):
        costs = [t * _log1p_exp(-z) + (1 - t) * _log1p_exp(z) for z, t in zip(logits, targets, strict=True)]
        sides.append(sum(costs) / len(costs))
    return sides[0] + sides[1]


def coupled_correlation(image, text, labels, text_labels, threshold, sharpness, pair_term) -> float:
    """The sum over all pairs, plus the distances of the own pairs."""
    total = 0.0
    for x, label in zip(image, labels, strict=True):
        for z, other in zip(text, text_labels, strict=True):
            sign = 1.0 if label == other else -1.0
            argument = 1 - sign * (threshold - math.dist(x, z) ** 2)
            total += _log1p_exp(sharpness * argument) / sharpness
    if pair_term == "norms":
        total += sum(math.dist(x, z) for x, z in zip(image, text, strict=True))
    if pair_term == "frobenius":
        total += math.sqrt(sum(math.dist(x, z) ** 2 for x, z in zip(image, text, strict=True)))
    return total


def caption_nll(logits, targets, mask, per_token: bool) -> float:
    total, tokens = 0.0, 0
    for rows, words, valid in zip(logits, targets, mask, strict=True):
        for row, word, counts in zip(rows, words, valid, strict=True):
            if counts:
                total -= _log_softmax(row)[word]
                tokens += 1
    return total / (max(tokens, 1) if per_token else len(logits))
