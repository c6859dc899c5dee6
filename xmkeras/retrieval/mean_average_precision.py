"""Where all right answers stand: mean average precision and its relatives, both ways."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from xmkeras.retrieval import average_precision as precision
from xmkeras.retrieval.both_ways import WAYS, BothWays, Relevance, checked_keys
from xmkeras.retrieval.embeddings import EmbeddingSet
from xmkeras.retrieval.ranking import CHUNK_BYTES, relevant_ranks
from xmkeras.retrieval.scores import Score, turned
from xmkeras.retrieval.tally import Ties

Measure = Callable[[np.ndarray, np.ndarray], np.ndarray]

_MEASURES: dict[str, Measure] = {
    "mAP": precision.average_precision,
    "MAP@R": precision.average_precision_at_r,
    "mINP": precision.inverse_negative_penalty,
}
_CHANCE: dict[str, Callable[[np.ndarray, int], float]] = {
    "mAP": precision.chance_average_precision,
    "MAP@R": precision.chance_average_precision_at_r,
    "mINP": precision.chance_inverse_negative_penalty,
}
# What `mean_average_precision` reports of each model.
FIGURES = tuple(f"{way}/{name}" for way in WAYS for name in _MEASURES)


def per_query(
    queries: np.ndarray,
    gallery: np.ndarray,
    query_keys: np.ndarray,
    gallery_keys: np.ndarray,
    measures: Mapping[str, Measure],
    **options: Any,
) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
    """Each measure of each query, from one pass: name -> (q,), the first ranks (q,), and the relevant items (q,).

    measures: name -> function of ranks (n, m) and relevant (n,), such as those of `average_precision`. The rest are
    the arguments and errors of `ranking.relevant_ranks`. From the first ranks come recalls, median and mean rank.
    """
    values = {name: np.zeros(len(queries)) for name in measures}
    first, counts = np.zeros(len(queries), np.int64), np.zeros(len(queries), np.int64)
    for found in relevant_ranks(queries, gallery, query_keys, gallery_keys, **options):
        first[found.queries], counts[found.queries] = found.ranks[:, 0], found.relevant
        for name, measure in measures.items():
            values[name][found.queries] = measure(found.ranks, found.relevant)
    return values, first, counts


def mean_average_precision(
    images: EmbeddingSet,
    texts: EmbeddingSet,
    *,
    relevance: Relevance = "label",
    ties: Ties = "pessimistic",
    score: Score = None,
    chunk_bytes: int = CHUNK_BYTES,
) -> tuple[dict[str, float], BothWays]:
    """mAP over the full ranking, MAP@R and mINP in percent, both ways, and their values under a random order.

    Arguments as in `both_ways.retrieval`, `score` taking images first. Keys: "text_to_image/mAP", ".../MAP@R",
    ".../mINP", "image_to_text/mAP" and so on, and "chance/" before a key. A query without a relevant item is not
    asked. The ranks, which the same pass finds, are those of `both_ways.rank_both_ways`. Raises UserError when an
    image is there twice or nothing matches.
    """
    image_keys, text_keys = checked_keys(images, texts, relevance)
    ways = {
        "text_to_image": (texts.vectors, images.vectors, text_keys, image_keys, turned(score)),
        "image_to_text": (images.vectors, texts.vectors, image_keys, text_keys, score),
    }
    results: dict[str, float] = {}
    ranked = {}
    for way, (queries, gallery, query_keys, gallery_keys, scored) in ways.items():
        options = {"ties": ties, "score": scored, "chunk_bytes": chunk_bytes}
        values, first, relevant = per_query(queries, gallery, query_keys, gallery_keys, _MEASURES, **options)
        ranked[way] = first, relevant
        asked = relevant > 0
        for name, value in values.items():
            results[f"{way}/{name}"] = 100.0 * float(value[asked].mean())
            results[f"chance/{way}/{name}"] = 100.0 * _CHANCE[name](relevant[asked], len(gallery))
    (text_ranks, of_texts), (image_ranks, of_images) = (ranked[way] for way in WAYS)
    return results, BothWays(image_ranks, text_ranks, of_images, of_texts)
