"""The contenders of the ranking benchmark: each searches the same gallery for the same queries, in its own process.

Queries are standard normal vectors; the gallery holds `per_query` noisy copies of each, its relevant items.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tools import benchmark_worker

Run = Callable[[], dict[str, float]]
Sides = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]
KS = (1, 5, 10)
# The metrics of scikit-learn sort each query's gallery; they are run on so large a share of the queries.
_SHARE = 20


def data(queries: int, gallery: int, dim: int, noise: float, seed: int) -> Sides:
    """Unit vectors (q, d) and (g, d) float32, and the keys (q,) and (g,); noise in lengths of a query."""
    generator = np.random.default_rng(seed)
    keys = np.repeat(np.arange(queries), -(-gallery // queries))[:gallery]
    asking = generator.standard_normal((queries, dim), dtype=np.float32)
    answering = generator.standard_normal((gallery, dim), dtype=np.float32)
    for start in range(0, gallery, 1024):
        part = slice(start, start + 1024)
        answering[part] *= noise
        answering[part] += asking[keys[part]]
    for side in (asking, answering):
        side /= np.linalg.norm(side, axis=1, keepdims=True)
    return asking, answering, np.arange(queries), keys


def product(queries: int, gallery: int, dim: int, noise: float, seed: int) -> Run:
    """The bare float32 matrix product, into memory that is there already."""
    asking, answering, _, _ = data(queries, gallery, dim, noise, seed)
    scores = np.empty((queries, gallery), np.float32)

    def run() -> dict[str, float]:
        np.matmul(asking, answering.T, out=scores)
        return {}

    return run


def xmkeras(queries: int, gallery: int, dim: int, noise: float, seed: int) -> Run:
    """Recalls, mAP and mINP with exact ties, from the ranks of all relevant items."""
    from xmkeras.retrieval import average_precision as precision
    from xmkeras.retrieval import metrics
    from xmkeras.retrieval.mean_average_precision import per_query

    sides = data(queries, gallery, dim, noise, seed)
    measures = {"mAP": precision.average_precision, "mINP": precision.inverse_negative_penalty}

    def run() -> dict[str, float]:
        values, first, _ = per_query(*sides, measures)
        figures = {name: 100 * float(value.mean()) for name, value in values.items()}
        return {f"R@{k}": metrics.recall_at_k(first, k) for k in KS} | figures

    return run


def sentence_transformers(queries: int, gallery: int, dim: int, noise: float, seed: int) -> Run:
    """semantic_search: the first 10 of each query."""
    from sentence_transformers.util import semantic_search

    torch = benchmark_worker.torch()
    asking, answering, query_keys, keys = data(queries, gallery, dim, noise, seed)
    tensors = torch.from_numpy(asking), torch.from_numpy(answering)

    def run() -> dict[str, float]:
        found = semantic_search(*tensors, top_k=KS[-1])
        return _recalls(np.array([[hit["corpus_id"] for hit in hits] for hits in found]), query_keys, keys)

    return run


def faiss(queries: int, gallery: int, dim: int, noise: float, seed: int) -> Run:
    """The flat index of inner products, filled once: the first 10 of each query."""
    import faiss as library

    library.omp_set_num_threads(benchmark_worker.threads() or library.omp_get_max_threads())
    asking, answering, query_keys, keys = data(queries, gallery, dim, noise, seed)
    index = library.IndexFlatIP(dim)
    index.add(answering)
    return lambda: _recalls(index.search(asking, KS[-1])[1], query_keys, keys)


def scikit_learn(queries: int, gallery: int, dim: int, noise: float, seed: int) -> Run:
    """label_ranking_average_precision_score of a part of the queries: mAP alone."""
    from sklearn.metrics import label_ranking_average_precision_score

    asking, answering, query_keys, keys = data(queries, gallery, dim, noise, seed)
    part = slice(0, max(1, queries // _SHARE))

    def run() -> dict[str, float]:
        scores = asking[part] @ answering.T
        found = label_ranking_average_precision_score(query_keys[part, None] == keys, scores)
        return {"mAP": 100 * float(found)}

    return run


def _recalls(found: np.ndarray, query_keys: np.ndarray, keys: np.ndarray) -> dict[str, float]:
    hits = keys[found] == query_keys[:, None]
    return {f"R@{k}": 100 * float(hits[:, :k].any(axis=1).mean()) for k in KS}


def scale(contender: str, queries: int) -> float:
    """By what the time of a run is multiplied to be that of all queries."""
    return queries / max(1, queries // _SHARE) if contender == "scikit_learn" else 1.0
