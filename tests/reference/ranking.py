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


def ranked_relevance(scores: Sequence[float], relevant: Sequence[bool], ties: str) -> list[bool]:
    """Which places of one query's ranking hold relevant items, from a sort of the whole gallery.

    A relevant item that scores NaN or -inf stands behind everything irrelevant.
    """

    def place(index: int) -> tuple[float, ...]:
        score = -math.inf if math.isnan(scores[index]) else scores[index]
        hopeless = relevant[index] and score == -math.inf
        tie = {"pessimistic": relevant[index], "optimistic": not relevant[index], "index": -index}[ties]
        return (hopeless, -score, tie)

    return [relevant[index] for index in sorted(range(len(scores)), key=place)]


def average_precision(ranking: Sequence[bool], k: int | None = None, divide_by: str = "relevant") -> float:
    """Sum of the precisions at the relevant places among the first k, divided as the name says; 0 if there are none."""
    hits, total = 0, 0.0
    for place, is_relevant in enumerate(ranking[:k], start=1):
        if is_relevant:
            hits += 1
            total += hits / place
    relevant = sum(ranking)
    divisor = {"relevant": relevant, "found": hits, "possible": min(relevant, k or relevant)}[divide_by]
    return total / divisor if divisor else 0.0


def average_precision_without_the_hit(ranking: Sequence[bool]) -> float:
    """The released CMPL evaluation: at a relevant place, the hits among the places before it, at least one place."""
    total = 0.0
    for index, is_relevant in enumerate(ranking):
        if is_relevant:
            total += sum(ranking[: max(1, index)]) / (index + 1)
    return total / sum(ranking) if any(ranking) else 0.0


def map_at_r(ranking: Sequence[bool]) -> float:
    relevant = sum(ranking)
    hits, total = 0, 0.0
    for place in range(relevant):
        if ranking[place]:
            hits += 1
            total += hits / (place + 1)
    return total / relevant if relevant else 0.0


def inverse_negative_penalty(ranking: Sequence[bool]) -> float:
    last = max((place for place, is_relevant in enumerate(ranking, start=1) if is_relevant), default=1)
    return sum(ranking) / last


def precision_scope(rankings: Sequence[Sequence[bool]], k_max: int, shifted: bool) -> list[float]:
    """P(K) for K = 1 ... k_max; shifted: the hits of one place less, as the ACMR release has it."""
    curve = []
    for k in range(1, k_max + 1):
        counted = k - 1 if shifted else k
        curve.append(sum(sum(ranking[:counted]) / k for ranking in rankings) / len(rankings))
    return curve


def without_self(scores: np.ndarray, labels: Sequence[int], ties: str) -> list[list[bool]]:
    """The ranking of each item among all others, by its row of (n, n) scores."""
    rankings = []
    for i, label in enumerate(labels):
        others = [j for j in range(len(labels)) if j != i]
        rankings.append(ranked_relevance([scores[i][j] for j in others], [labels[j] == label for j in others], ties))
    return rankings


def minus_squared_distances(queries: np.ndarray, gallery: np.ndarray) -> list[list[float]]:
    """- sum (x - y)^2 of float32 vectors, in float64, rounded to float32."""
    return [
        [-float(np.float32(sum((float(a) - float(b)) ** 2 for a, b in zip(x, y, strict=True)))) for y in gallery]
        for x in queries
    ]


def mutual_information(labels: Sequence[int], clusters: Sequence[int], average: str) -> float:
    """I(Y; C) over the mean of the entropies, from probabilities counted one by one."""
    n = len(labels)

    def entropy(values: Sequence[int]) -> float:
        return -sum(values.count(v) / n * math.log(values.count(v) / n) for v in set(values))

    labels, clusters, information = list(labels), list(clusters), 0.0
    for y in set(labels):
        for c in set(clusters):
            both = sum(a == y and b == c for a, b in zip(labels, clusters, strict=True)) / n
            if both:
                information += both * math.log(both * n * n / labels.count(y) / clusters.count(c))
    first, second = entropy(labels), entropy(clusters)
    if first == second == 0:
        return 1.0
    mean = (first + second) / 2 if average == "arithmetic" else math.sqrt(first * second)
    return information / mean if mean else 0.0


def pair_scores(images: Sequence[np.ndarray], texts: Sequence[np.ndarray]) -> list[list[float]]:
    """The mean over the words (w, d) of a text of the greatest inner product with a region (r, d) of an image."""
    return [
        [sum(max(float(word @ region) for region in image) for word in text) / len(text) for text in texts]
        for image in images
    ]
