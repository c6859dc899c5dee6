"""What single queries found: the best, typical and worst of them with their first answers."""

from dataclasses import dataclass

import numpy as np

from xmkeras.retrieval.embeddings import EmbeddingSet
from xmkeras.retrieval.ranking import top_k, top_k_of_others
from xmkeras.retrieval.scores import Score


@dataclass(frozen=True)
class Answered:
    """One query and its answers, all of them numbers of items in their sets.

    query: its place; rank: 0-based rank of the best right answer; answers: (k,) the first k, best first; scores and
    right: (k,) their scores and whether they are right; wanted: the best right answer, for when it is not among them.
    """

    query: int
    rank: int
    answers: np.ndarray
    scores: np.ndarray
    right: np.ndarray
    wanted: int


def choose_queries(ranks: np.ndarray, asked: np.ndarray, count: int, *, seed: int = 0) -> dict[str, np.ndarray]:
    """`count` queries each of the best, the typical (nearest to the median) and the worst; none twice.

    ranks: (q,) 0-based; asked: (q,) bool, which queries have an answer. Equal ranks are drawn by lot from
    `seed`.
    """
    places = np.random.default_rng(seed).permutation(np.flatnonzero(asked))
    left = places[np.argsort(ranks[places], kind="stable")]
    chosen = {"best": left[:count]}
    left = left[count:]
    chosen["worst"] = left[max(0, len(left) - count) :][::-1]
    left = left[: max(0, len(left) - count)]
    middle = np.argsort(np.abs(ranks[left] - np.median(ranks[places])), kind="stable")[:count]
    chosen["typical"] = left[np.sort(middle)]
    return {name: chosen[name] for name in ("best", "typical", "worst")}


def answer(
    queries: EmbeddingSet,
    gallery: EmbeddingSet | None,
    places: np.ndarray,
    ranks: np.ndarray,
    *,
    k: int,
    relevance: str = "id",
    score: Score = None,
) -> list[Answered]:
    """The first k answers of the queries at `places`; `relevance` as in `both_ways`, `score` of queries.

    gallery: None for the queries themselves, each left out of its own answers.
    """
    asked, places = queries.vectors[places], np.asarray(places)
    searched = queries if gallery is None else gallery
    if gallery is None:
        indices, scores = top_k_of_others(places, queries.vectors, k, score=score)
    else:
        indices, scores = top_k(asked, gallery.vectors, k, score=score)
    keys, gallery_keys = ((s.ids if relevance == "id" else s.labels) for s in (queries, searched))
    found = []
    for row, place in enumerate(places):
        is_relevant = gallery_keys == keys[place]
        if gallery is None:
            is_relevant[place] = False
        relevant = np.flatnonzero(is_relevant)
        best = top_k(asked[row : row + 1], searched.vectors[relevant], 1, score=score)[0][0, 0]
        right = np.isin(indices[row], relevant)
        found.append(Answered(int(place), int(ranks[place]), indices[row], scores[row], right, int(relevant[best])))
    return found


def best_typical_worst(
    queries: EmbeddingSet,
    gallery: EmbeddingSet | None,
    ranks: np.ndarray,
    *,
    examples: int,
    k: int,
    relevance: str,
    score: Score,
    seed: int = 0,
) -> dict[str, list[Answered]]:
    """`examples` queries each of the best, typical and worst with their first k answers, by a title.

    ranks: (q,) of the best right answer. The rest as in `answer`. Queries without any right answer are left out.
    """
    searched = queries if gallery is None else gallery
    keys, gallery_keys = ((s.ids if relevance == "id" else s.labels) for s in (queries, searched))
    known, counts = np.unique(gallery_keys, return_counts=True)
    asked = np.isin(keys, known[counts > (gallery is None)])
    size = len(searched) - (gallery is None)
    titles = {
        "best": "Best",
        "typical": f"Typical (median rank {int(np.median(ranks[asked])) + 1:,} of {size:,})",
        "worst": "Worst",
    }
    return {
        titles[kind]: answer(queries, gallery, places, ranks, k=k, relevance=relevance, score=score)
        for kind, places in choose_queries(ranks, asked, examples, seed=seed).items()
    }
