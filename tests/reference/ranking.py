"""Literal, loop-written twins of the ranking, the metrics and the protocols, for small inputs."""

import math
from collections.abc import Sequence

import numpy as np


def unit(vector: Sequence[float]) -> list[np.float32]:
    """The vector divided by its length, in float32; a zero vector stays zero."""
    length = np.float32(math.sqrt(sum(float(value) ** 2 for value in vector))) or np.float32(1)
    return [np.float32(value) / length for value in vector]


def cosine_scores(queries: np.ndarray, gallery: np.ndarray) -> list[list[float]]:
    """Inner products of float32 unit vectors, summed in float64 and rounded to float32."""
    table = []
    for query in map(unit, queries):
        row = []
        for item in map(unit, gallery):
            row.append(float(np.float32(sum(float(a) * float(b) for a, b in zip(query, item, strict=True)))))
        table.append(row)
    return table


def rank_from_scores(scores: Sequence[float], relevant: Sequence[bool], ties: str) -> int:
    """0-based rank of the best relevant item of one query, by counting who stands before it."""
    if not any(relevant):
        return len(scores)
    worst = [-math.inf if math.isnan(score) else score for score in scores]
    best = max((s for s, r in zip(worst, relevant, strict=True) if r))
    best_index = max(i for i, (s, r) in enumerate(zip(worst, relevant, strict=True)) if r and s == best)
    rank = 0
    for index, (score, is_relevant) in enumerate(zip(worst, relevant, strict=True)):
        if is_relevant:
            continue
        tie_goes_first = {"pessimistic": True, "optimistic": False, "index": index > best_index}[ties]
        if best == -math.inf or score > best or (score == best and tie_goes_first):
            rank += 1
    return rank


def ranks(
    scores: Sequence[Sequence[float]], query_keys: Sequence[object], gallery_keys: Sequence[object], ties: str
) -> list[int]:
    return [
        rank_from_scores(row, [key == other for other in gallery_keys], ties)
        for row, key in zip(scores, query_keys, strict=True)
    ]


def chance_recall(relevant: int, gallery: int, k: int) -> float:
    """Probability that at least one of `relevant` items is among the first k of a random order."""
    none_found = 1.0
    for place in range(min(k, gallery)):
        none_found *= max(gallery - relevant - place, 0) / (gallery - place)
    return 1.0 - none_found


def precision_at_k(scores: Sequence[float], relevant: Sequence[bool], k: int) -> float:
    """Share of relevant items among the first k, irrelevant items first where scores are equal."""
    order = sorted(zip(scores, relevant, strict=True), key=lambda item: (-item[0], item[1]))[:k]
    return sum(is_relevant for _, is_relevant in order) / len(order)
