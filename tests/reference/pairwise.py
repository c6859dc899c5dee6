"""Losses over pairs written out as loops over samples, pairs and bins, in float64."""

from __future__ import annotations

import math

import numpy as np


def _dot(a, b) -> float:
    return float(sum(x * y for x, y in zip(a, b, strict=True)))


def unit(a) -> np.ndarray:
    length = math.sqrt(_dot(a, a))
    return np.array(a) / length if length else np.zeros(len(a))


def _log_sum_exp(values) -> float:
    top = max(values)
    return top + math.log(sum(math.exp(v - top) for v in values))


def pairs(queries, labels, references=None, reference_labels=None):
    """(query, reference, whether their labels agree) of every pair; no row with itself."""
    alone = references is None
    references = queries if alone else references
    reference_labels = labels if alone else reference_labels
    for i, query in enumerate(queries):
        for j, reference in enumerate(references):
            if not (alone and i == j):
                yield query, reference, bool(labels[i] == reference_labels[j])


def n_pair(anchors, positives, labels=None, positive_labels=None) -> float:
    losses = []
    for i, anchor in enumerate(anchors):
        scores = [_dot(anchor, positive) for positive in positives]
        targets = [j for j in range(len(scores)) if (i == j if labels is None else labels[i] == positive_labels[j])]
        if targets:
            losses.append(sum(_log_sum_exp(scores) - scores[j] for j in targets) / len(targets))
    return sum(losses) / len(losses) if losses else 0.0


def density(cosines, bins: int) -> list[float]:
    """Triangular weights at the nodes -1 + 2 r/bins."""
    step = 2.0 / bins
    nodes = [-1.0 + r * step for r in range(bins + 1)]
    return [sum(max(0.0, 1.0 - abs(s - node) / step) for s in cosines) / len(cosines) for node in nodes]


def histogram(queries, labels, references=None, reference_labels=None, bins=100) -> float:
    cosines: dict[bool, list[float]] = {True: [], False: []}
    for query, reference, alike in pairs(queries, labels, references, reference_labels):
        cosines[alike].append(_dot(unit(query), unit(reference)))
    if not cosines[True] or not cosines[False]:
        return 0.0
    positive, negative = density(cosines[True], bins), density(cosines[False], bins)
    return sum(negative[r] * sum(positive[: r + 1]) for r in range(bins + 1))


def contrastive(queries, labels, references=None, reference_labels=None, bound=2.0) -> float:
    losses = []
    for query, reference, alike in pairs(queries, labels, references, reference_labels):
        energy = math.dist(query, reference)
        losses.append(2 / bound * energy**2 if alike else 2 * bound * math.exp(-2.77 / bound * energy))
    return sum(losses) / len(losses) if losses else 0.0


def angular(anchors, positives, labels=None, positive_labels=None, angle=45.0) -> float:
    t = math.tan(math.radians(angle)) ** 2
    losses = []
    for i, anchor in enumerate(anchors):
        own, terms = positives[i], [0.0]
        for j, other in enumerate(positives):
            if j != i and (labels is None or labels[i] != positive_labels[j]):
                terms.append(4 * t * _dot(anchor + own, other) - 2 * (1 + t) * _dot(anchor, own))
        losses.append(_log_sum_exp(terms))
    return sum(losses) / len(losses)


def angular_all_pairs(
    queries, labels, references=None, reference_labels=None, angle=45.0, normalize="all"
) -> float:
    t = math.tan(math.radians(angle)) ** 2
    alone = references is None
    references = queries if alone else references
    reference_labels = labels if alone else reference_labels
    ends = [(np.array(x) if normalize == "none" else unit(x)) for x in references]
    others = [unit(x) if normalize == "all" else np.array(x) for x in references]
    losses = []
    for i, query in enumerate(queries):
        anchor = np.array(query) if normalize == "none" else unit(query)
        for j, positive in enumerate(ends):
            if labels[i] != reference_labels[j] or (alone and i == j):
                continue
            terms = [0.0]
            for other, label in zip(others, reference_labels, strict=True):
                if label != labels[i]:
                    terms.append(4 * t * _dot(anchor + positive, other) - 2 * (1 + t) * _dot(anchor, positive))
            losses.append(_log_sum_exp(terms))
    return sum(losses) / len(losses) if losses else 0.0


def proxy_nca(x, labels, proxies, scale=3.0, proxy_scale=3.0, smoothing=0.1) -> float:
    """With the positive in the denominator; smoothing None is the original form without it."""
    classes, total = len(proxies), 0.0
    for row, label in zip(x, labels, strict=True):
        distances = [math.dist(scale * unit(row), proxy_scale * unit(proxy)) ** 2 for proxy in proxies]
        if smoothing is None:
            others = [-distances[c] for c in range(classes) if c != label]
            total += distances[label] + _log_sum_exp(others) if others else 0.0
            continue
        normaliser = _log_sum_exp([-distance for distance in distances])
        for c in range(classes):
            wrong = smoothing / (classes - 1) if classes > 1 else 0.0
            target = (1 - smoothing if classes > 1 else 1.0) if c == label else wrong
            total -= target * (-distances[c] - normaliser)
    return total / len(x)


def proxy_anchor(x, labels, proxies, margin=0.1, scale=32.0) -> float:
    drawn, repelled, there = 0.0, 0.0, 0
    for c, proxy in enumerate(proxies):
        cosines = [(_dot(unit(row), unit(proxy)), label == c) for row, label in zip(x, labels, strict=True)]
        drawn += _log_sum_exp([0.0, *(-scale * (s - margin) for s, own in cosines if own)])
        repelled += _log_sum_exp([0.0, *(scale * (s + margin) for s, own in cosines if not own)])
        there += any(own for _, own in cosines)
    return drawn / there + repelled / len(proxies)


def soft_triple(x, labels, centers, scale=20.0, gamma=0.1, margin=0.01, tau=0.2) -> float:
    total = 0.0
    for row, label in zip(x, labels, strict=True):
        logits = []
        for c, of_class in enumerate(centers):
            cosines = [_dot(unit(row), unit(center)) for center in of_class]
            normaliser = _log_sum_exp([s / gamma for s in cosines])
            close = sum(math.exp(s / gamma - normaliser) * s for s in cosines)
            logits.append(scale * (close - (margin if c == label else 0.0)))
        total += _log_sum_exp(logits) - logits[label]
    apart = [
        math.sqrt(2 + 1e-5 - 2 * _dot(unit(one), unit(other)))
        for of_class in centers
        for number, one in enumerate(of_class)
        for other in of_class[:number]
    ]
    return total / len(x) + (tau * sum(apart) / (2 * len(apart)) if apart else 0.0)


def multi_similarity(
    queries, labels, references=None, reference_labels=None, alpha=2.0, beta=50.0, base=0.5, epsilon=0.1
) -> float:
    total = 0.0
    alone = references is None
    references = queries if alone else references
    reference_labels = labels if alone else reference_labels
    for i, query in enumerate(queries):
        positives, negatives = [], []
        for j, reference in enumerate(references):
            if not (alone and i == j):
                cosine = _dot(unit(query), unit(reference))
                (positives if labels[i] == reference_labels[j] else negatives).append(cosine)
        hardest, easiest = max(negatives, default=-math.inf), min(positives, default=math.inf)
        if epsilon is not None:
            positives = [s for s in positives if s - epsilon < hardest]
            negatives = [s for s in negatives if s + epsilon > easiest]
        total += _log_sum_exp([0.0, *(-alpha * (s - base) for s in positives)]) / alpha
        total += _log_sum_exp([0.0, *(beta * (s - base) for s in negatives)]) / beta
    return total / len(queries)


def supervised_contrastive(queries, labels, references=None, reference_labels=None, temperature=0.1) -> float:
    losses = []
    alone = references is None
    references = queries if alone else references
    reference_labels = labels if alone else reference_labels
    for i, query in enumerate(queries):
        others = [j for j in range(len(references)) if not (alone and i == j)]
        logits = {j: _dot(unit(query), unit(references[j])) / temperature for j in others}
        own = [logits[j] for j in others if labels[i] == reference_labels[j]]
        if own:
            losses.append(_log_sum_exp(list(logits.values())) - sum(own) / len(own))
    return sum(losses) / len(losses) if losses else 0.0


def energy(queries, labels, references=None, reference_labels=None) -> float:
    squares = [
        math.dist(query, reference) ** 2
        for query, reference, alike in pairs(queries, labels, references, reference_labels)
        if not alike
    ]
    return sum(squares) / len(squares) if squares else 0.0


def energy_between_classes(queries, labels, references, reference_labels) -> float:
    """The mean over ordered pairs of different classes of the mean over their samples."""
    means = []
    for one in sorted(set(labels)):
        for other in sorted(set(reference_labels) - {one}):
            left = [x for x, label in zip(queries, labels, strict=True) if label == one]
            right = [x for x, label in zip(references, reference_labels, strict=True) if label == other]
            means.append(float(np.mean([math.dist(a, b) ** 2 for a in left for b in right])))
    return sum(means) / len(means) if means else 0.0


def score_softmax(scores, ids, temperature) -> float:
    """Of a square matrix; every column of equal id has its share of the target."""
    n, total = len(scores), 0.0
    for table in (scores, [list(column) for column in zip(*scores, strict=True)]):
        for i in range(n):
            right = [j for j in range(n) if ids[i] == ids[j]]
            logits = [score / temperature for score in table[i]]
            total += _log_sum_exp(logits) - sum(logits[j] for j in right) / len(right)
    return total / (2 * n)


def score_sigmoid(scores, ids, temperature, bias) -> float:
    n, total = len(scores), 0.0
    for i in range(n):
        for j in range(n):
            sign = 1 if ids[i] == ids[j] else -1
            total += math.log1p(math.exp(-sign * (scores[i][j] / temperature + bias)))
    return total / n
