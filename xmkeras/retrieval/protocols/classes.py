"""Captioned images of classes (CUB, Flowers): recalls both ways, Reed's protocol and mean average precision."""

import dataclasses

import numpy as np

from xmkeras.errors import UserError
from xmkeras.retrieval import average_precision, mean_average_precision
from xmkeras.retrieval.embeddings import EmbeddingSet
from xmkeras.retrieval.measured import Measured, Split
from xmkeras.retrieval.protocols.captions import Captions, needed
from xmkeras.retrieval.ranking import ranks, relevant_ranks
from xmkeras.retrieval.score_matrix import MatrixScore
from xmkeras.retrieval.scores import Score, turned
from xmkeras.retrieval.tally import Ties

K = 50


class Classes(Captions):
    """As `captions`, a caption and its image belonging together, and all items of a class in `reed` and mAP."""

    best_metric = "image_to_text/class_accuracy"

    def figures(self, label_kind: str, gallery_size: int) -> tuple[str, ...]:
        reed = (self.best_metric, f"text_to_image/precision@{min(K, gallery_size)}")
        return super().figures("class", gallery_size) + reed + mean_average_precision.FIGURES

    def measure(self, split: Split) -> Measured:
        images, texts = split.images, needed(split.texts)
        classes = reed(images, texts, score=split.score, ties=split.ties)
        measured = super().measure(dataclasses.replace(split, label_kind="class"))
        precisions, _ = mean_average_precision.mean_average_precision(
            images, texts, ties=split.ties, score=split.score
        )
        return dataclasses.replace(measured, results=measured.results | classes | precisions)


def reed(
    images: EmbeddingSet, texts: EmbeddingSet, *, k: int = K, score: Score = None, ties: Ties = "pessimistic"
) -> dict[str, float]:
    """Reed et al. 2016 (CUB and Flowers): a class is the mean of all its sentence embeddings.

    "image_to_text/class_accuracy": percent of the images whose class has the prototype of the highest score,
    averaged over images; "text_to_image/precision@k": percent of the k best images of a prototype that are of
    its class, averaged over classes (papers print it as AP@50). The mean is taken before anything is
    normalised. score, ties: as in `ranking.ranks`, images first; Reed uses the inner product, CMPM and TIMAM the
    cosine. In a gallery of fewer than k images, k is its size. "chance/" gives the values of a random order. Raises
    UserError when an image has a class without a text, and for the scores of pairs, which no mean has.
    """
    if isinstance(score, MatrixScore):
        raise UserError("a class is the mean of its text embeddings, which has no scores: use --protocol=captions")
    classes = np.unique(texts.labels)
    if not len(images) or not np.isin(images.labels, classes).all():
        raise UserError("the class protocol needs at least one image, and a text for each class of the images")
    classes = np.unique(images.labels)
    prototypes, k = _class_means(texts, classes), min(k, len(images))
    wins = ranks(images.vectors, prototypes, images.labels, classes, score=score, ties=ties) == 0
    found = relevant_ranks(prototypes, images.vectors, classes, images.labels, score=turned(score), ties=ties)
    precision = [average_precision.precision_at_k(part.ranks, k) for part in found]
    return {
        "image_to_text/class_accuracy": 100.0 * float(wins.mean()),
        f"text_to_image/precision@{k}": 100.0 * float(np.mean(np.concatenate(precision))),
        "chance/image_to_text/class_accuracy": 100.0 / len(classes),
        f"chance/text_to_image/precision@{k}": 100.0 / len(classes),
    }


def _class_means(texts: EmbeddingSet, classes: np.ndarray) -> np.ndarray:
    """(C, d) float32 means of the texts of each of the classes."""
    return np.stack([np.mean(texts.vectors[texts.labels == one], axis=0, dtype=np.float64) for one in classes]).astype(
        np.float32
    )


PROTOCOL = Classes()
