"""Captions and their images (Flickr30K, COCO, CUHK-PEDES): recalls both ways."""

from functools import partial

from matplotlib.figure import Figure

from xmkeras.errors import UserError
from xmkeras.retrieval import both_ways, mean_average_precision
from xmkeras.retrieval.answers import best_typical_worst
from xmkeras.retrieval.both_ways import BothWays
from xmkeras.retrieval.embeddings import EmbeddingSet
from xmkeras.retrieval.measured import Measured, Show, Split
from xmkeras.retrieval.plots import cumulative_match_figure
from xmkeras.retrieval.query_pictures import image_query_figure, text_query_figure
from xmkeras.retrieval.report import Picture, Section
from xmkeras.retrieval.scores import turned
from xmkeras.retrieval.word_pictures import word_figure

_LOOKS = "Under each word: how many times the mean of the regions' shares of its attention the largest is."


class Captions:
    """The right answers of a caption are its image, those of an image its captions.

    Where a label is an identity, all items of it are right answers, and mAP, MAP@R and mINP tell how early they come.
    """

    sides: tuple[str, ...] = ("image", "text")
    best_metric = "rsum"

    def figures(self, label_kind: str, gallery_size: int) -> tuple[str, ...]:
        return both_ways.FIGURES + (mean_average_precision.FIGURES if label_kind == "identity" else ())

    def measure(self, split: Split) -> Measured:
        if split.label_kind == "identity":
            return by_label(split)
        images, texts = split.images, needed(split.texts)
        ranked = both_ways.rank_both_ways(images, texts, ties=split.ties, score=split.score)
        results = both_ways.retrieval(images, texts, ranked=ranked)
        return Measured(results, ranked, images, texts, split.captions, "id", score=split.score)

    def sections(self, measured: Measured, show: Show) -> list[Section]:
        """The curve of recall over k, and the best, typical and worst queries with what they found."""
        images, texts, ranked = measured.images, needed(measured.texts), measured.ranked
        assert ranked is not None
        curves = Picture("ranks", "How far down the right answers stand", _curves(ranked))
        sections = [Section("Ranks", "", (curves,))]
        if show.thumbnail is None:
            return sections
        chosen = partial(
            best_typical_worst, examples=show.examples, k=show.k, relevance=measured.relevance, seed=show.seed
        )
        by_texts = chosen(texts, images, ranked.text_to_image, score=turned(measured.score))
        by_images = chosen(images, texts, ranked.image_to_text, score=measured.score)
        drawn = (measured.captions, images.ids, show.thumbnail)
        found_images = Picture(
            "text_to_image",
            "Captions with their first images: right ones framed in green, wrong ones in red",
            text_query_figure(by_texts, *drawn, credit=show.credit),
        )
        found_texts = Picture(
            "image_to_text",
            "Images with their first captions: right ones marked in green, wrong ones in red",
            image_query_figure(by_images, *drawn, credit=show.credit),
        )
        sections += [
            Section("Texts and the images they found", "", (found_images,)),
            Section("Images and the texts they found", "", (found_texts,)),
        ]
        looks = show.looks and word_figure(
            by_texts, measured.captions, texts.ids, show.thumbnail, show.looks, credit=show.credit
        )
        if looks:
            words = "Words of captions over their own image, bright where they look"
            sections.append(Section("Where the words look", _LOOKS, (Picture("words", words, looks),)))
        return sections


def by_label(split: Split) -> Measured:
    """Recalls, mAP, MAP@R and mINP where all items of a label are right answers, from one pass each way."""
    images, texts = split.images, needed(split.texts)
    precisions, ranked = mean_average_precision.mean_average_precision(
        images, texts, ties=split.ties, score=split.score
    )
    results = both_ways.retrieval(images, texts, relevance="label", ranked=ranked) | precisions
    return Measured(results, ranked, images, texts, split.captions, "label", score=split.score)


def needed(texts: EmbeddingSet | None) -> EmbeddingSet:
    """The texts; raises UserError where there are none."""
    if texts is None:
        raise UserError("there are no texts to search with: measure images alone with --protocol=zero_shot")
    return texts


def _curves(ranked: BothWays) -> Figure:
    ways = {
        "text_to_image": (ranked.text_to_image, ranked.text_relevant, len(ranked.image_to_text)),
        "image_to_text": (ranked.image_to_text, ranked.image_relevant, len(ranked.text_to_image)),
    }
    return cumulative_match_figure(
        {way: ranks[relevant > 0] for way, (ranks, relevant, _) in ways.items()},
        {way: relevant[relevant > 0] for way, (_, relevant, _) in ways.items()},
        {way: size for way, (_, _, size) in ways.items()},
    )


PROTOCOL = Captions()
