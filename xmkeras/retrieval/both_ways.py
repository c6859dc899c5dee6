"""Images searched by texts and texts by images: ranks, recalls, median and mean ranks, and their chance values."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from xmkeras.errors import UserError
from xmkeras.retrieval import metrics
from xmkeras.retrieval.embeddings import EmbeddingSet
from xmkeras.retrieval.ranking import CHUNK_BYTES, ranks_both_ways
from xmkeras.retrieval.scores import Score
from xmkeras.retrieval.tally import Ties

Relevance = Literal["id", "label"]
KS = (1, 5, 10)
WAYS = ("text_to_image", "image_to_text")
# What `retrieval` reports of each model: neither sizes nor chance.
FIGURES = (*(f"{way}/{name}" for way in WAYS for name in ("R@1", "R@5", "R@10", "median_rank", "mean_rank")), "rsum")


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
    image_keys, text_keys = checked_keys(images, texts, relevance)
    image_relevant, text_relevant = _matches(image_keys, text_keys), _matches(text_keys, image_keys)
    image_to_text, text_to_image = ranks_both_ways(
        images.vectors, texts.vectors, image_keys, text_keys, ties=ties, score=score, chunk_bytes=chunk_bytes
    )
    return BothWays(image_to_text, text_to_image, image_relevant, text_relevant)


def checked_keys(images: EmbeddingSet, texts: EmbeddingSet, relevance: Relevance) -> tuple[np.ndarray, np.ndarray]:
    """What images and texts that belong together share, (n,) and (m,); UserError as in `retrieval`."""
    if len(np.unique(images.ids)) != len(images):
        raise UserError("the gallery holds an image twice: rank each distinct image once, or every recall is wrong")
    keys = (images.ids, texts.ids) if relevance == "id" else (images.labels, texts.labels)
    if not np.isin(*keys).any():
        raise UserError(f"no text has the {relevance} of any image: are both embeddings of the same split?")
    return keys


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


def _matches(keys: np.ndarray, others: np.ndarray) -> np.ndarray:
    """(n,) how many of the others equal each key."""
    known, counts = np.unique(others, return_counts=True)
    places = np.minimum(np.searchsorted(known, keys), len(known) - 1)
    return np.where(known[places] == keys, counts[places], 0)
