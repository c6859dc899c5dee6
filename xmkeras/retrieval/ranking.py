"""Exact ranks in bounded memory: counts who stands before the first right answer, tile by tile."""

import numpy as np

from xmkeras.retrieval.counting import Side, Ties, blocks, rank, tile_columns
from xmkeras.retrieval.scores import Cosine, Custom, ScoreFunction, Scorer

CHUNK_BYTES = 2**21
_QUERIES = 512


def ranks(
    queries: np.ndarray,
    gallery: np.ndarray,
    query_keys: np.ndarray,
    gallery_keys: np.ndarray,
    *,
    ties: Ties = "pessimistic",
    score: ScoreFunction | None = None,
    chunk_bytes: int = CHUNK_BYTES,
) -> np.ndarray:
    """The 0-based rank of each query's best relevant item, one that has the key of the query.

    queries: (q, ...), gallery: (g, ...); vectors (n, d) of any length unless `score` is given.
    query_keys: (q,), gallery_keys: (g,): image ids, labels, anything that compares.
    ties: where an irrelevant item with the score of the best relevant one stands: "pessimistic" before it,
        "optimistic" behind it, "index" before it if it comes later in the gallery, the rule of the released
        evaluations of SCAN, BFAN and VSRN.
    score: (a, ...) queries, (b, ...) gallery items -> (a, b); the cosine when it is None. It is called on
    blocks.
    chunk_bytes: the most bytes of scores held at a time.

    NaN is the worst score: a NaN item stands behind all others, and a query whose every relevant item scores
    NaN (or -inf) gets the last rank under each rule; a query without any relevant item gets the rank g, a
    miss at each k. Returns (q,) int64. Raises ValueError for lengths or a tie rule that do not fit.
    """
    asking, answering = Side(queries, query_keys), Side(gallery, gallery_keys, wanted=False)
    rank(asking, answering, ties, score, chunk_bytes)
    return asking.ranks(answering)


def ranks_both_ways(
    images: np.ndarray,
    texts: np.ndarray,
    image_keys: np.ndarray,
    text_keys: np.ndarray,
    *,
    ties: Ties = "pessimistic",
    score: ScoreFunction | None = None,
    chunk_bytes: int = CHUNK_BYTES,
) -> tuple[np.ndarray, np.ndarray]:
    """`ranks` of the images among the texts, and of the texts among the images, from one matrix product.

    images: (n, ...), texts: (m, ...), keys (n,) and (m,); the rest as in `ranks`, `score` taking images
    first. Returns image-to-text (n,) and text-to-image (m,) int64 ranks.
    """
    image_side, text_side = Side(images, image_keys), Side(texts, text_keys)
    rank(image_side, text_side, ties, score, chunk_bytes)
    return image_side.ranks(text_side), text_side.ranks(image_side)


def top_k(
    queries: np.ndarray,
    gallery: np.ndarray,
    k: int,
    *,
    score: ScoreFunction | None = None,
    chunk_bytes: int = CHUNK_BYTES,
) -> tuple[np.ndarray, np.ndarray]:
    """The k best gallery items of each query, best first, the earlier first where scores are equal.

    queries (q, ...), gallery (g, ...), `score` and `chunk_bytes` as in `ranks`; k is cut to g. NaN counts as
    -inf. Returns indices (q, k) int64 and scores (q, k) float32. Of more equal scores than fit any may be
    kept.
    """
    scorer: Scorer = Custom(score) if score else Cosine()
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
        scores[rows], indices[rows] = best, where
    return indices, scores


def _best(scores: np.ndarray, places: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    if scores.shape[1] > k:
        kept = np.argpartition(scores, scores.shape[1] - k, axis=1)[:, scores.shape[1] - k :]
        scores, places = np.take_along_axis(scores, kept, 1), np.take_along_axis(places, kept, 1)
    order = np.lexsort((places, -scores), axis=1)
    return np.take_along_axis(scores, order, 1), np.take_along_axis(places, order, 1)
