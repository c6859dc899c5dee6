"""The protocol of deep metric learning: classes never seen in training, each item searched among all others."""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from xmkeras.errors import UserError
from xmkeras.retrieval import average_precision as precision
from xmkeras.retrieval import clustering, metrics
from xmkeras.retrieval.answers import best_typical_worst
from xmkeras.retrieval.embeddings import EmbeddingSet
from xmkeras.retrieval.mean_average_precision import per_query
from xmkeras.retrieval.measured import Measured, Show, Split
from xmkeras.retrieval.query_pictures import attention_figure, neighbour_figure
from xmkeras.retrieval.ranking import CHUNK_BYTES, top_k_of_others
from xmkeras.retrieval.report import Picture, Section
from xmkeras.retrieval.score_matrix import MatrixScore
from xmkeras.retrieval.scores import Score, normalised
from xmkeras.retrieval.tally import Ties

KS = (1, 2, 4, 8)
_NEIGHBOURS, _NEEDED = 5, 3
_LOOKS = "Below a map stands how many times the mean its largest weight is; near 1, the map is all but averaged."


class ZeroShot:
    """Images alone, each asking for those of its label among all others; see `zero_shot` for its figures."""

    sides: tuple[str, ...] = ("image",)
    best_metric = "R@1"

    def figures(self, label_kind: str, gallery_size: int) -> tuple[str, ...]:
        return (*(f"R@{k}" for k in KS), "kNN_accuracy", "NMI", "mAP", "MAP@R", "mINP")

    def measure(self, split: Split) -> Measured:
        results = zero_shot(split.images, score=split.score, ties=split.ties)
        return Measured(results, None, split.images, None, [], "label", score=split.score)

    def sections(self, measured: Measured, show: Show) -> list[Section]:
        """The best, typical and worst images with their neighbours, and where attention to maps looks in them."""
        if show.thumbnail is None:
            return []
        images, labels = measured.images.vectors, measured.images.labels
        _, first, _ = per_query(images, images, labels, labels, {}, exclude_self=True, score=measured.score)
        found = best_typical_worst(
            measured.images,
            None,
            first,
            examples=show.examples,
            k=show.k,
            relevance="label",
            score=measured.score,
            seed=show.seed,
        )
        words = "Images with their nearest neighbours: those of their class framed in green, others in red"
        figure = neighbour_figure(found, measured.images.ids, show.thumbnail, credit=show.credit)
        sections = [Section("Images and their neighbours", "", (Picture("neighbours", words, figure),))]
        looks = show.attended and attention_figure(
            found, measured.images.ids, show.thumbnail, show.attended, credit=show.credit
        )
        if looks:
            words = "Images, and over them the weights of the attention to each map, bright where they are large"
            sections.append(Section("Where the attention looks", _LOOKS, (Picture("attention", words, looks),)))
        return sections


def zero_shot(
    embeddings: EmbeddingSet,
    *,
    ks: Sequence[int] = KS,
    score: Score = None,
    ties: Ties = "pessimistic",
    knn: Literal["three_of_five", "plurality"] = "three_of_five",
    nmi: Literal["arithmetic", "geometric"] = "arithmetic",
    seed: int = 0,
    n_init: int = 10,
    chunk_bytes: int = CHUNK_BYTES,
) -> dict[str, float]:
    """Each item asks for those of its label among all others; and k-means, one cluster a class. Figures in percent.

    Keys: "R@1" and so on, with "chance/R@1"; "mAP", "MAP@R" and "mINP"; "kNN_accuracy", "NMI"; "queries", "gallery"
    and "classes". An item is left out of its own answers by its place, so that a duplicate of it remains one. An item
    alone in its class is not asked: "queries" counts those that are; it is clustered with the others.
    score: the cosine, which orders unit vectors by their Euclidean distance, or as in `ranking.ranks`. Clusters are
    those of the unit vectors, or of the vectors as they are when score is "euclidean"; a matrix of scores has no
    vectors to be clustered, and "NMI" is left out.
    As published elsewhere: knn="plurality" takes the most frequent label of five neighbours, the lowest of several,
    for the answer; nmi="geometric" as in `clustering.normalised_mutual_information`. Raises UserError when no two
    items share a label, or a vector is not finite.
    """
    vectors, labels = embeddings.vectors, embeddings.labels
    if not np.isfinite(vectors).all():
        raise UserError("an embedding is not finite: the model has diverged, or its file is damaged")
    values, first, relevant = per_query(
        vectors,
        vectors,
        labels,
        labels,
        {
            "mAP": precision.average_precision,
            "MAP@R": precision.average_precision_at_r,
            "mINP": precision.inverse_negative_penalty,
            "kNN_accuracy": lambda ranks, _: precision.enough_near(ranks, k=_NEIGHBOURS, needed=_NEEDED),
        },
        exclude_self=True,
        ties=ties,
        score=score,
        chunk_bytes=chunk_bytes,
    )
    asked = relevant > 0
    if not asked.any():
        raise UserError("no two items share a label: there is nothing to find")
    if knn == "plurality":
        values["kNN_accuracy"] = plurality(vectors, labels, score=score, chunk_bytes=chunk_bytes) == labels
    results = {name: 100.0 * float(value[asked].mean()) for name, value in values.items()}
    for k in ks:
        results[f"R@{k}"] = metrics.recall_at_k(first[asked], k)
        results[f"chance/R@{k}"] = metrics.chance_recall_at_k(relevant[asked], len(labels) - 1, k)
    classes = len(np.unique(labels))
    if not isinstance(score, MatrixScore):
        points = vectors if score == "euclidean" else normalised(vectors)
        clusters = clustering.k_means(points, classes, seed=seed, n_init=n_init)
        results["NMI"] = 100.0 * clustering.normalised_mutual_information(labels, clusters, average=nmi)
    return results | {"queries": int(asked.sum()), "gallery": len(labels) - 1, "classes": classes}


def plurality(
    vectors: np.ndarray,
    labels: np.ndarray,
    *,
    k: int = _NEIGHBOURS,
    score: Score = None,
    chunk_bytes: int = CHUNK_BYTES,
) -> np.ndarray:
    """(n,) the most frequent label among the k nearest other items, the lowest of several; vectors (n, d).

    n is at least 2; score as in `ranking.ranks`.
    """
    others, _ = top_k_of_others(np.arange(len(vectors)), vectors, k, score=score, chunk_bytes=chunk_bytes)
    found = np.sort(labels[others], axis=1)
    votes = np.count_nonzero(found[:, :, None] == found[:, None, :], axis=2)
    return np.take_along_axis(found, votes.argmax(axis=1)[:, None], 1)[:, 0]


PROTOCOL = ZeroShot()
