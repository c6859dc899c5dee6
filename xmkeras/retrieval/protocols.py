"""The published ways to measure retrieval: recall both ways, COCO's five folds, and Reed's class protocol."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from xmkeras.errors import UserError
from xmkeras.retrieval import metrics
from xmkeras.retrieval.embeddings import EmbeddingSet
from xmkeras.retrieval.ranking import CHUNK_BYTES, Ties, ranks, ranks_both_ways
from xmkeras.retrieval.scores import Score, normalised

Relevance = Literal["id", "label"]
KS = (1, 5, 10)
WAYS = ("text_to_image", "image_to_text")


@dataclass(frozen=True)
class BothWays:
    """0-based ranks both ways, and how many items are relevant to each query (0: it has no answer).

    image_to_text, image_relevant: (n,) for each image; text_to_image, text_relevant: (m,) for each text.
    """

    image_to_text: np.ndarray
    text_to_image: np.ndarray
    image_relevant: np.ndarray
    text_relevant: np.ndarray


def rank_both_ways(
    images: EmbeddingSet,
    texts: EmbeddingSet,
    *,
    relevance: Relevance = "id",
    ties: Ties = "pessimistic",
    score: Score = None,
    chunk_bytes: int = CHUNK_BYTES,
) -> BothWays:
    """Ranks each image among all texts and each text among all images; arguments as in `retrieval`."""
    if len(np.unique(images.ids)) != len(images):
        raise UserError("the gallery holds an image twice: rank each distinct image once, or every recall is wrong")
    image_keys, text_keys = (images.ids, texts.ids) if relevance == "id" else (images.labels, texts.labels)
    image_relevant, text_relevant = _matches(image_keys, text_keys), _matches(text_keys, image_keys)
    if not image_relevant.any():
        raise UserError(f"no text has the {relevance} of any image: are both embeddings of the same split?")
    image_to_text, text_to_image = ranks_both_ways(
        images.vectors, texts.vectors, image_keys, text_keys, ties=ties, score=score, chunk_bytes=chunk_bytes
    )
    return BothWays(image_to_text, text_to_image, image_relevant, text_relevant)


def retrieval(
    images: EmbeddingSet,
    texts: EmbeddingSet,
    *,
    relevance: Relevance = "id",
    ks: Sequence[int] = KS,
    ties: Ties = "pessimistic",
    score: Score = None,
    ranked: BothWays | None = None,
) -> dict[str, float]:
    """Recall at each k in percent, median and mean rank (1 is best), both ways, and their chance values.

    images: each distinct image once. texts: each caption, with the id and the label of its image.
    relevance: "id" (a text and its image) or "label" (everything of the class or identity).
    ties, score: as in `ranking.ranks`, `score` taking images first. ranked: the result of `rank_both_ways`,
    if known.

    Keys: "text_to_image/R@1", "image_to_text/median_rank", ".../mean_rank", ".../queries", ".../gallery",
    "rsum" (the sum of all recalls), and "chance/" before the name of a figure for its value under a random
    order of the gallery.
    A query without a relevant item, such as the caption of an unreadable image, is not asked: "queries"
    counts those that were. Raises UserError when an image is there twice or nothing matches.
    """
    found = ranked or rank_both_ways(images, texts, relevance=relevance, ties=ties, score=score)
    results = _one_way("text_to_image", found.text_to_image, found.text_relevant, len(images), ks)
    results |= _one_way("image_to_text", found.image_to_text, found.image_relevant, len(texts), ks)
    for prefix in ("", "chance/"):
        results[f"{prefix}rsum"] = sum(results[f"{prefix}{way}/R@{k}"] for way in WAYS for k in ks)
    return results


def _one_way(way: str, ranks: np.ndarray, relevant: np.ndarray, gallery: int, ks: Sequence[int]) -> dict[str, float]:
    asked = relevant > 0
    ranks, relevant = ranks[asked], relevant[asked]
    results: dict[str, float] = {}
    for k in ks:
        results[f"{way}/R@{k}"] = metrics.recall_at_k(ranks, k)
        results[f"chance/{way}/R@{k}"] = metrics.chance_recall_at_k(relevant, gallery, k)
    results[f"{way}/median_rank"] = metrics.median_rank(ranks)
    results[f"chance/{way}/median_rank"] = metrics.chance_median_rank(relevant, gallery)
    results[f"{way}/mean_rank"] = metrics.mean_rank(ranks)
    results[f"chance/{way}/mean_rank"] = metrics.chance_mean_rank(relevant, gallery)
    return results | {f"{way}/queries": len(ranks), f"{way}/gallery": gallery}


def five_fold(
    images: EmbeddingSet,
    texts: EmbeddingSet,
    *,
    folds: int = 5,
    ks: Sequence[int] = KS,
    ties: Ties = "pessimistic",
) -> dict[str, float]:
    """COCO's 1K protocol: `retrieval` inside equal parts of the gallery, every figure averaged over them.

    Part f holds the images f n / folds to (f + 1) n / folds, in order, and their texts. Raises UserError when
    the number of images cannot be divided by `folds`.
    """
    if len(images) == 0 or len(images) % folds:
        raise UserError(f"{len(images)} images cannot be cut into {folds} equal folds")
    parts = []
    for rows in np.split(np.arange(len(images)), folds):
        own = images.take(rows)
        parts.append(retrieval(own, texts.take(np.isin(texts.ids, own.ids)), ks=ks, ties=ties))
    return {name: float(np.mean([part[name] for part in parts])) for name in parts[0]}


def reed(
    images: EmbeddingSet, texts: EmbeddingSet, *, k: int = 50, similarity: Literal["cosine", "dot"] = "cosine"
) -> dict[str, float]:
    """Reed et al. 2016 (CUB and Flowers): a class is the mean of all its sentence embeddings.

    "image_to_text/class_accuracy": percent of the images whose class has the prototype of the highest score,
    averaged over images; "text_to_image/precision@k": percent of the k best images of a prototype that are of
    its class, averaged over classes (papers print it as AP@50). The mean is taken before anything is
    normalised. similarity: Reed uses "dot", CMPM and TIMAM "cosine". Ties count against the model; in a
    gallery of fewer than k images, k is its size. "chance/" gives the values of a random order. Raises
    UserError when an image has a class without a text.
    """
    classes = np.unique(texts.labels)
    if not len(images) or not np.isin(images.labels, classes).all():
        raise UserError("the class protocol needs at least one image, and a text for each class of the images")
    classes, own = np.unique(images.labels, return_inverse=True)
    prototypes = _class_means(texts, classes)
    vectors = np.asarray(images.vectors, np.float32)
    if similarity == "cosine":
        prototypes, vectors = normalised(prototypes), normalised(vectors)
    score: Score = (lambda left, right: left @ right.T) if similarity == "dot" else None
    wins = ranks(vectors, prototypes, images.labels, classes, score=score) == 0
    k = min(k, len(images))
    precision = [_precision_at_k(vectors @ one, own == index, k) for index, one in enumerate(prototypes)]
    return {
        "image_to_text/class_accuracy": 100.0 * float(wins.mean()),
        f"text_to_image/precision@{k}": 100.0 * float(np.mean(precision)),
        "chance/image_to_text/class_accuracy": 100.0 / len(classes),
        f"chance/text_to_image/precision@{k}": 100.0 / len(classes),
    }


def _class_means(texts: EmbeddingSet, classes: np.ndarray) -> np.ndarray:
    """(C, d) float32 means of the texts of each of the classes."""
    return np.stack([np.mean(texts.vectors[texts.labels == one], axis=0, dtype=np.float64) for one in classes]).astype(
        np.float32
    )


def _precision_at_k(scores: np.ndarray, relevant: np.ndarray, k: int) -> float:
    worst_first = np.where(np.isnan(scores), np.inf, -scores)
    return float(relevant[np.lexsort((relevant, worst_first))[:k]].mean())


def _matches(keys: np.ndarray, others: np.ndarray) -> np.ndarray:
    """(n,) how many of the others equal each key."""
    known, counts = np.unique(others, return_counts=True)
    places = np.minimum(np.searchsorted(known, keys), len(known) - 1)
    return np.where(known[places] == keys, counts[places], 0)
