"""How sets of labelled feature pairs are measured: mAP over all, mAP@50 of ACMR, precision over scope."""

from __future__ import annotations

import numpy as np

from xmkeras.retrieval.class_protocols import acmr, mean_average_precision
from xmkeras.retrieval.embeddings import EmbeddingSet
from xmkeras.retrieval.protocols import WAYS
from xmkeras.retrieval.scores import Score, turned
from xmkeras.retrieval.tally import Ties

SCOPE = 100


def feature_protocol(
    images: EmbeddingSet, texts: EmbeddingSet, *, ties: Ties = "pessimistic", score: Score = None
) -> tuple[dict[str, float], dict[str, np.ndarray]]:
    """The figures of the tables of ACMR and DAML, in percent, and the precision-scope curves.

    Args:
        images, texts: items of one label are right answers.
        ties: see `ranking.ranks`.
        score: see `ranking.ranks`; a function takes images first.

    Returns:
        "image_to_text/mAP" (image queries, which those papers call Img2Txt), "text_to_image/mAP" and "mAP", their
        mean; the same with mAP@50, the AP of the first 50 divided by the hits among them; "chance/" before a name
        for its value under a random order, of mAP@50 that of one random embedding. And way -> P(K), K = 1 ... 100.

    Raises:
        UserError: no item has the label of another.
    """
    results = mean_average_precision(images, texts, ties=ties, score=score)
    noise = np.random.default_rng(0)
    random = [EmbeddingSet(s.ids, s.labels, noise.normal(size=(len(s), 8)).astype(np.float32)) for s in (images, texts)]
    curves: dict[str, np.ndarray] = {}
    for prefix, (pictures, words), by in (("", (images, texts), score), ("chance/", random, None)):
        for way, queries, gallery, how in (
            ("text_to_image", words, pictures, turned(by)),
            ("image_to_text", pictures, words, by),
        ):
            figures, curve = acmr(queries, gallery, k=50, scope=SCOPE, ties=ties, score=how or "cosine")
            results[f"{prefix}{way}/mAP@50"] = next(value for name, value in figures.items() if name.startswith("mAP@"))
            if not prefix:
                curves[way] = curve
        for name in ("mAP", "mAP@50"):
            results[f"{prefix}{name}"] = float(np.mean([results[f"{prefix}{way}/{name}"] for way in WAYS]))
    return results, curves
