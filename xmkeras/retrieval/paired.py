"""Whether one model is better than another: a paired comparison of two evaluations of the same split."""

import numpy as np

from xmkeras.errors import UserError
from xmkeras.retrieval.both_ways import Relevance, rank_both_ways
from xmkeras.retrieval.embeddings import EmbeddingSet
from xmkeras.retrieval.metrics import Difference, paired_bootstrap, rsum_by_image
from xmkeras.retrieval.report import Section
from xmkeras.retrieval.scores import Score
from xmkeras.retrieval.tally import Ties

Evaluated = tuple[EmbeddingSet, EmbeddingSet, Score]


def compare(
    first: Evaluated, second: Evaluated, relevance: Relevance = "id", *, ties: Ties = "pessimistic"
) -> Difference:
    """The difference of rsum, first - second, its 95 % interval and p-value, by a bootstrap over images.

    first, second: images, texts and score of each, as in `both_ways.retrieval`. An image is drawn with all its texts.
    Raises UserError when the two are not of the same images and texts, in the same order.
    """
    for one, other, name in zip(first[:2], second[:2], ("images", "texts"), strict=True):
        if not np.array_equal(one.ids, other.ids):
            raise UserError(f"the two evaluations hold different {name}: evaluate both runs on the same split")
    return paired_bootstrap(*(_rsum(*one, relevance, ties) for one in (first, second)))


def comparison_section(difference: Difference, name: str, against: str) -> Section:
    """The part of a report on run `name` that says how it differs from run `against`."""
    verdict = "The interval holds 0: they may as well be equal." if difference.low <= 0 <= difference.high else ""
    text = (
        f"rsum of {name} less that of {against}: {difference} (the 95 % interval and a two-sided p-value of a paired "
        f"bootstrap over images). {verdict}"
    )
    return Section(f"Compared with {against}", text)


def _rsum(images: EmbeddingSet, texts: EmbeddingSet, score: Score, relevance: Relevance, ties: Ties) -> np.ndarray:
    ranked = rank_both_ways(images, texts, relevance=relevance, ties=ties, score=score)
    return rsum_by_image(ranked.image_to_text, ranked.text_to_image, images.ids, texts.ids)
