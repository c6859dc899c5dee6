"""Exact ranks in bounded memory: counts who stands before the right answers, tile by tile."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from xmkeras.retrieval.counting import All, Best, Comparison, Side, blocks, tile_columns
from xmkeras.retrieval.scores import Score, Scorer, scorer_of
from xmkeras.retrieval.tally import Marks, Ties

CHUNK_BYTES = 2**22
_QUERIES = 512
_HELD_MARKS = 2**21


def ranks(
    queries: np.ndarray,
    gallery: np.ndarray,
    query_keys: np.ndarray,
    gallery_keys: np.ndarray,
    *,
    ties: Ties = "pessimistic",
    score: Score = None,
    chunk_bytes: int = CHUNK_BYTES,
) -> np.ndarray:
    """The 0-based rank of each query's best relevant item, one that has the key of the query.

    queries: (q, ...), gallery: (g, ...); vectors (n, d) of any length unless `score` is given.
    query_keys: (q,), gallery_keys: (g,): image ids, labels, anything that compares.
    ties: where an irrelevant item with the score of the best relevant one stands: "pessimistic" before it,
        "optimistic" behind it, "index" before it if it comes later in the gallery, the rule of the released
        evaluations of SCAN, BFAN and VSRN.
    score: (a, ...) queries, (b, ...) gallery items -> (a, b), called on blocks; or "euclidean", minus the distance
        of the vectors as they are; the cosine when it is None.
    chunk_bytes: the most bytes of scores held at a time.

    NaN is the worst score: a NaN item stands behind all others, and a query whose every relevant item scores
    NaN (or -inf) gets the last rank under each rule; a query without any relevant item gets the rank g, a
    miss at each k. Returns (q,) int64. Raises ValueError for lengths or a tie rule that do not fit.
    """
    compared = Comparison(Side(queries, query_keys), Side(gallery, gallery_keys), ties, score, chunk_bytes)
    everyone, best = slice(0, len(queries)), Best(len(queries))
    compared.learn(everyone, best)
    marks = best.marks(ties)
    return _first_ranks(compared.rows, compared.columns, marks, compared.count(everyone, marks)[0])


def ranks_both_ways(
    images: np.ndarray,
    texts: np.ndarray,
    image_keys: np.ndarray,
    text_keys: np.ndarray,
    *,
    ties: Ties = "pessimistic",
    score: Score = None,
    chunk_bytes: int = CHUNK_BYTES,
) -> tuple[np.ndarray, np.ndarray]:
    """`ranks` of the images among the texts, and of the texts among the images, from one matrix product.

    images: (n, ...), texts: (m, ...), keys (n,) and (m,); the rest as in `ranks`, `score` taking images
    first. Returns image-to-text (n,) and text-to-image (m,) int64 ranks.
    """
    compared = Comparison(Side(images, image_keys), Side(texts, text_keys), ties, score, chunk_bytes)
    everyone, best_texts, best_images = slice(0, len(images)), Best(len(images)), Best(len(texts))
    compared.learn(everyone, best_texts, best_images)
    image_marks, text_marks = best_texts.marks(ties), best_images.marks(ties)
    before_texts, before_images = compared.count(everyone, image_marks, text_marks)
    return (
        _first_ranks(compared.rows, compared.columns, image_marks, before_texts),
        _first_ranks(compared.columns, compared.rows, text_marks, before_images),
    )


def _first_ranks(side: Side, other: Side, marks: Marks, ahead: np.ndarray) -> np.ndarray:
    first, last = side.span(other)
    result = np.empty(len(side), np.int64)
    result[side.order] = np.where(np.isnan(marks.scores[:, 0]), len(other) - (last - first), ahead[:, 0])
    return result


@dataclass(frozen=True)
class RelevantRanks:
    """Where all relevant items of some queries stand.

    queries: (n,) which queries. ranks: (n, m) int64, the 0-based ranks of the relevant items of each, ascending,
    padded with the size of the gallery. relevant: (n,) how many there are.
    """

    queries: np.ndarray
    ranks: np.ndarray
    relevant: np.ndarray


def relevant_ranks(
    queries: np.ndarray,
    gallery: np.ndarray,
    query_keys: np.ndarray,
    gallery_keys: np.ndarray,
    *,
    exclude_self: bool = False,
    ties: Ties = "pessimistic",
    score: Score = None,
    chunk_bytes: int = CHUNK_BYTES,
) -> Iterator[RelevantRanks]:
    """The ranks of all relevant items of each query, a bounded number of queries at a time, each query once.

    Arguments, ties and NaN as in `ranks`, whose result are the first ranks of these; each relevant item ranks behind
    the relevant ones before it. The gallery is not sorted: memory grows with the queries and with the gallery, not
    with their product. exclude_self: the queries are the gallery, and each is left out of its own answers, by its
    place: its duplicates stay. Raises ValueError as `ranks` does, and for queries that are not the gallery.
    """
    if exclude_self and not (len(queries) == len(gallery) and np.array_equal(query_keys, gallery_keys)):
        raise ValueError("exclude_self needs the queries themselves, with their keys, as the gallery")
    compared = Comparison(Side(queries, query_keys), Side(gallery, gallery_keys), ties, score, chunk_bytes)
    first, last = compared.rows.span(compared.columns)
    for rows in _row_groups(last - first):
        everything = All(first[rows], last[rows], rows.start if exclude_self else None)
        compared.learn(rows, everything)
        marks = everything.marks(ties)
        relevant = (last - first)[rows] - exclude_self
        ahead = compared.count(rows, marks)[0].astype(np.int64)
        irrelevant = len(gallery) - (last - first)[rows, None]
        ahead = np.where(np.isnan(marks.scores), irrelevant, ahead) + np.arange(ahead.shape[1])
        ahead[np.arange(ahead.shape[1]) >= relevant[:, None]] = len(gallery)
        yield RelevantRanks(compared.rows.order[rows], ahead, relevant)


def _row_groups(counts: np.ndarray) -> Iterator[slice]:
    """Consecutive rows with a bounded number of marks, padding included; counts (n,) ascending."""
    start = 0
    while start < len(counts):
        marks = np.arange(1, len(counts) - start + 1) * np.maximum(counts[start:], 1)
        stop = start + max(1, int(np.searchsorted(marks, _HELD_MARKS, "right")))
        yield slice(start, stop)
        start = stop


def top_k(
    queries: np.ndarray,
    gallery: np.ndarray,
    k: int,
    *,
    score: Score = None,
    chunk_bytes: int = CHUNK_BYTES,
) -> tuple[np.ndarray, np.ndarray]:
    """The k best gallery items of each query, best first, the earlier first where scores are equal.

    queries (q, ...), gallery (g, ...), `score` and `chunk_bytes` as in `ranks`; k is cut to g. NaN counts as
    -inf. Returns indices (q, k) int64 and scores (q, k) float32. Of more equal scores than fit any may be
    kept.
    """
    scorer: Scorer = scorer_of(score)
    k = min(k, len(gallery))
    indices, scores = np.empty((len(queries), k), np.int64), np.empty((len(queries), k), np.float32)
    for rows in blocks(len(queries), _QUERIES):
        asking = scorer.prepare(queries[rows])
        best, where = np.empty((len(asking), 0), np.float32), np.empty((len(asking), 0), np.int64)
        for columns in blocks(len(gallery), max(tile_columns(chunk_bytes), k)):
            fresh = scorer.tile(asking, scorer.prepare(gallery[columns]))
            fresh[np.isnan(fresh)] = -np.inf
            places = np.broadcast_to(np.arange(columns.start, columns.stop), fresh.shape)
            best, where = _best(np.hstack([best, fresh]), np.hstack([where, places]), k)
        scores[rows], indices[rows] = scorer.shown(best), where
    return indices, scores


def top_k_of_others(
    places: np.ndarray, items: np.ndarray, k: int, *, score: Score = None, chunk_bytes: int = CHUNK_BYTES
) -> tuple[np.ndarray, np.ndarray]:
    """`top_k` of items[places] among all items but themselves, by their place; k is cut to the number of others."""
    indices, scores = top_k(items[places], items, k + 1, score=score, chunk_bytes=chunk_bytes)
    # Not always the first: duplicates may stand before the item itself, or push it out.
    others = np.argsort(indices == places[:, None], axis=1, kind="stable")[:, : min(k, len(items) - 1)]
    return np.take_along_axis(indices, others, 1), np.take_along_axis(scores, others, 1)


def _best(scores: np.ndarray, places: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    if scores.shape[1] > k:
        kept = np.argpartition(scores, scores.shape[1] - k, axis=1)[:, scores.shape[1] - k :]
        scores, places = np.take_along_axis(scores, kept, 1), np.take_along_axis(places, kept, 1)
    order = np.lexsort((places, -scores), axis=1)
    return np.take_along_axis(scores, order, 1), np.take_along_axis(places, order, 1)
