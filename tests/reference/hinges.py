"""Hinge losses written out as loops over rows, positives and negatives, in float64."""

from __future__ import annotations

import math

import numpy as np


def cosine(a, b) -> float:
    lengths = math.sqrt(sum(x * x for x in a)) * math.sqrt(sum(x * x for x in b))
    return sum(x * y for x, y in zip(a, b, strict=True)) / lengths if lengths else 0.0


def distance(a, b, squared: bool = False) -> float:
    total = sum((x - y) ** 2 for x, y in zip(a, b, strict=True))
    return total if squared else math.sqrt(total)


def one_row(scores, own: int, allowed, margin: float, negatives: str, k: int) -> float:
    """The cost of a query whose positive is item `own`, `allowed` naming its negatives."""
    positive = scores[own]
    costs = {j: max(0.0, margin + scores[j] - positive) for j in allowed}
    if not costs:
        return 0.0
    if negatives == "sum":
        return sum(costs.values())
    if negatives == "max":
        return max(costs.values())
    if negatives == "topk":
        return sum(sorted(costs.values(), reverse=True)[:k])
    below = [j for j in costs if scores[j] < positive]
    return max(costs[j] for j in below) if below else min(costs.values())


def ranking(scores, margin, negatives, k=10, row_ids=None, column_ids=None, image_weight=1.0) -> float:
    """Sum over both directions; items of equal id are no negatives of each other."""
    rows, columns = len(scores), len(scores[0])
    total = 0.0
    for i in range(min(rows, columns)):
        apart = [j for j in range(columns) if j != i and (row_ids is None or row_ids[i] != column_ids[j])]
        total += image_weight * one_row(list(scores[i]), i, apart, margin, negatives, k)
        apart = [j for j in range(rows) if j != i and (row_ids is None or row_ids[j] != column_ids[i])]
        total += one_row([row[i] for row in scores], i, apart, margin, negatives, k)
    return total


def _triples(queries, labels, references, reference_labels):
    """(anchor, positive, its negatives) of every positive pair; no row is its own positive."""
    alone = references is None
    references = queries if alone else references
    reference_labels = labels if alone else reference_labels
    for a, anchor in enumerate(queries):
        negatives = [x for x, other in zip(references, reference_labels, strict=True) if other != labels[a]]
        for p, positive in enumerate(references):
            if reference_labels[p] == labels[a] and not (alone and p == a):
                yield anchor, positive, negatives


def triplet_one_negative(queries, labels, references=None, reference_labels=None, margin=1.0, squared=False) -> float:
    """TensorFlow Addons' rule: the nearest negative farther than the positive, else the farthest."""
    losses = []
    for anchor, positive, negatives in _triples(queries, labels, references, reference_labels):
        if not negatives:
            continue
        near = distance(anchor, positive, squared)
        distances = [distance(anchor, negative, squared) for negative in negatives]
        farther = [d for d in distances if d > near]
        losses.append(max(0.0, margin + near - (min(farther) if farther else max(distances))))
    return float(np.mean(losses)) if losses else 0.0


def triplet_all_semihard(queries, labels, references=None, reference_labels=None, margin=0.2) -> float:
    """The mean over every triplet whose negative is farther than its positive, by less than the margin."""
    losses = []
    for anchor, positive, negatives in _triples(queries, labels, references, reference_labels):
        for negative in negatives:
            gap = distance(anchor, negative) - distance(anchor, positive)
            if 0 < gap < margin:
                losses.append(margin - gap)
    return float(np.mean(losses)) if losses else 0.0
