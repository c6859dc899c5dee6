"""Pairs of feature vectors with classes (Wikipedia, Pascal Sentence): the tables and curves of ACMR and DAML."""

import dataclasses

import numpy as np

from xmkeras.errors import UserError
from xmkeras.retrieval import average_precision as precision
from xmkeras.retrieval import both_ways, mean_average_precision
from xmkeras.retrieval.both_ways import WAYS
from xmkeras.retrieval.embeddings import EmbeddingSet
from xmkeras.retrieval.measured import Measured, Show, Split
from xmkeras.retrieval.modality_gap import Pair, probe_accuracy, tsne_figure
from xmkeras.retrieval.protocols.captions import Captions, by_label, needed
from xmkeras.retrieval.ranking import relevant_ranks
from xmkeras.retrieval.report import Picture, Section
from xmkeras.retrieval.scope_plot import precision_scope_figure
from xmkeras.retrieval.score_matrix import MatrixScore
from xmkeras.retrieval.scores import Score, turned
from xmkeras.retrieval.tally import Ties

K = 50
SCOPE = 100
_MEANS = ("mAP", f"mAP@{K}")
_FEWEST = 5


class Vectors(Captions):
    """All items of a label are right answers: recalls, mAP, mAP@50, precision over scope, and the modality gap.

    "image_to_text/mAP" (image queries, which those papers call Img2Txt), "text_to_image/mAP" and "mAP", their mean;
    the same with mAP@50, the AP of the first 50 divided by the hits among them; "chance/" before a name for its value
    under a random order, of mAP@50 that of one random embedding.
    """

    best_metric = "mAP"

    def figures(self, label_kind: str, gallery_size: int) -> tuple[str, ...]:
        at_k = tuple(f"{way}/mAP@{K}" for way in WAYS)
        return both_ways.FIGURES + mean_average_precision.FIGURES + at_k + _MEANS

    def measure(self, split: Split) -> Measured:
        images, texts = split.images, needed(split.texts)
        measured = by_label(split)
        at_k, curves = _acmr_both_ways(images, texts, split.score, split.ties)
        chance, _ = _acmr_both_ways(*_noise(images, texts), None, split.ties)
        results = measured.results | at_k | {f"chance/{name}": value for name, value in chance.items()}
        for prefix in ("", "chance/"):
            for name in _MEANS:
                results[f"{prefix}{name}"] = float(np.mean([results[f"{prefix}{way}/{name}"] for way in WAYS]))
        return dataclasses.replace(measured, results=results, curves=curves)

    def sections(self, measured: Measured, show: Show) -> list[Section]:
        """Those of `captions`, the precision-scope curves and, where there are vectors, the modality gap."""
        curves = precision_scope_figure({show.name: measured.curves})
        scope = Section("Precision over scope", "", (Picture("scope", "Precision among the first K answers", curves),))
        drawable = len(measured.images) >= _FEWEST and not isinstance(measured.score, MatrixScore)
        return [*super().sections(measured, show), scope, *([_space(measured, show)] if drawable else [])]


def acmr(
    queries: EmbeddingSet,
    gallery: EmbeddingSet,
    *,
    k: int = K,
    scope: int = SCOPE,
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
    for found in relevant_ranks(
        queries.vectors, gallery.vectors, queries.labels, gallery.labels, ties=ties, score=score
    ):
        precisions += precision.average_precision(found.ranks, found.relevant, k=k, divide_by="found").sum()
        hits += precision.precision_at_k(found.ranks, k).sum()
        curve += len(found.ranks) * precision.precision_scope(found.ranks, scope, shifted=shifted_scope)
    figures = {f"mAP@{k}": 100.0 * precisions / len(queries), f"precision@{k}": 100.0 * hits / len(queries)}
    return figures | {"queries": len(queries)}, curve / len(queries)


def _acmr_both_ways(
    images: EmbeddingSet, texts: EmbeddingSet, score: Score, ties: Ties
) -> tuple[dict[str, float], dict[str, np.ndarray]]:
    figures, curves = {}, {}
    for way, queries, gallery, by in zip(WAYS, (texts, images), (images, texts), (turned(score), score), strict=True):
        found, curves[way] = acmr(queries, gallery, ties=ties, score=by)
        figures[f"{way}/mAP@{K}"] = found[f"mAP@{min(K, len(gallery))}"]
    return figures, curves


def _noise(images: EmbeddingSet, texts: EmbeddingSet) -> Pair:
    noise = np.random.default_rng(0)
    one, other = (noise.normal(size=(len(side), 8)).astype(np.float32) for side in (images, texts))
    return EmbeddingSet(images.ids, images.labels, one), EmbeddingSet(texts.ids, texts.labels, other)


def _space(measured: Measured, show: Show) -> Section:
    """The modality gap after training, and before it where the first weights are at hand; adds to the results."""
    whole: dict[str, Pair] = {} if show.untrained is None else {"before training": show.untrained()}
    whole["after training"] = measured.images, needed(measured.texts)
    dims = show.private_dims
    spaces = {name: (_shared(one, dims), _shared(other, dims)) for name, (one, other) in whole.items()}
    gaps = {name: probe_accuracy(*sides) for name, sides in spaces.items()}
    for name, value in gaps.items():
        measured.results[f"modality_probe/{name.replace(' ', '_')}"] = value
    cases = " and ".join(f"{value:.1f} % of the cases {name}" for name, value in gaps.items())
    text = f"A linear probe tells images from texts in {cases}; 50 % would be no gap."
    label_names = show.label_names or [str(label) for label in range(1 + measured.images.labels.max())]
    figure = tsne_figure(spaces, label_names, seed=show.seed)
    words = f"t-SNE of images and texts {' and '.join(gaps)}, by class and by modality"
    return Section("The space", text, (Picture("space", words, figure),))


def _shared(items: EmbeddingSet, private_dims: int) -> EmbeddingSet:
    """The items without the dimensions that tell nothing but the modality."""
    return EmbeddingSet(items.ids, items.labels, items.vectors[:, : items.vectors.shape[1] - private_dims])


PROTOCOL = Vectors()
