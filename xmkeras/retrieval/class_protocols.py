"""Retrieval by class or identity: mean average precision and its relatives, and the protocol of ACMR and DAML."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from xmkeras.errors import UserError
from xmkeras.retrieval import average_precision as precision
from xmkeras.retrieval.embeddings import EmbeddingSet
from xmkeras.retrieval.protocols import Relevance
from xmkeras.retrieval.ranking import CHUNK_BYTES, RelevantRanks, relevant_ranks
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
) -> dict[str, float]:
    """mAP over the full ranking, MAP@R and mINP in percent, both ways, and their values under a random order.

    Arguments as in `protocols.retrieval`, `score` taking images first. Keys: "text_to_image/mAP", ".../MAP@R",
    ".../mINP", "image_to_text/mAP" and so on, and "chance/" before a key. A query without a relevant item is not
    asked. Raises UserError when nothing matches.
    """
    keys = [side.ids if relevance == "id" else side.labels for side in (images, texts)]
    ways = {
        "text_to_image": (texts.vectors, images.vectors, keys[1], keys[0], turned(score)),
        "image_to_text": (images.vectors, texts.vectors, keys[0], keys[1], score),
    }
    results: dict[str, float] = {}
    for way, (queries, gallery, query_keys, gallery_keys, scored) in ways.items():
        options = {"ties": ties, "score": scored, "chunk_bytes": chunk_bytes}
        values, _, relevant = per_query(queries, gallery, query_keys, gallery_keys, _MEASURES, **options)
        asked = relevant > 0
        if not asked.any():
            raise UserError(f"no text has the {relevance} of any image: are both embeddings of the same split?")
        for name, value in values.items():
            results[f"{way}/{name}"] = 100.0 * float(value[asked].mean())
            results[f"chance/{way}/{name}"] = 100.0 * _CHANCE[name](relevant[asked], len(gallery))
    return results


def acmr(
    queries: EmbeddingSet,
    gallery: EmbeddingSet,
    *,
    k: int = 50,
    scope: int = 100,
    ties: Ties = "pessimistic",
    score: Score = "euclidean",
    shifted_scope: bool = False,
    batch_size: int | None = None,
) -> tuple[dict[str, float], np.ndarray]:
    """One way of the protocol of ACMR and DAML: mAP@k divided by the hits found, P@k, and the precision-scope curve.

    Items of one label are relevant; distances are Euclidean, of the vectors as they are. Returns {"mAP@50",
    "precision@50", "queries"}, percent, and the curve P(K) for K = 1 ... scope, in [0, 1]; both k and scope are cut
    to the size of the gallery.
    As published: shifted_scope=True is the release's curve (`average_precision.precision_scope`); batch_size=64 drops
    the queries behind the last full batch. Each query with a relevant item is asked otherwise. Raises UserError when
    no query has one.
    """
    if batch_size is not None:
        queries = queries.take(np.arange(len(queries) // batch_size * batch_size))
    asked = np.isin(queries.labels, gallery.labels)
    if not asked.any():
        raise UserError("no query has the label of any item of the gallery")
    queries = queries.take(asked)
    k, scope = min(k, len(gallery)), min(scope, len(gallery))
    precisions, hits, curve = 0.0, 0.0, np.zeros(scope)
    found: RelevantRanks
    for found in relevant_ranks(
        queries.vectors, gallery.vectors, queries.labels, gallery.labels, ties=ties, score=score
    ):
        precisions += precision.average_precision(found.ranks, found.relevant, k=k, divide_by="found").sum()
        hits += precision.precision_at_k(found.ranks, k).sum()
        curve += len(found.ranks) * precision.precision_scope(found.ranks, scope, shifted=shifted_scope)
    figures = {f"mAP@{k}": 100.0 * precisions / len(queries), f"precision@{k}": 100.0 * hits / len(queries)}
    return figures | {"queries": len(queries)}, curve / len(queries)
