"""What training shows of its validation split: metrics, a picture of queries, the embedding projector."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from xmkeras.retrieval import verdict
from xmkeras.retrieval.answers import answer
from xmkeras.retrieval.embeddings import EmbeddingSet, Sequences
from xmkeras.retrieval.measured import Measured, Show
from xmkeras.retrieval.plots import figure_pixels
from xmkeras.retrieval.query_pictures import query_gallery_figure
from xmkeras.retrieval.scores import turned
from xmkeras.retrieval.word_pictures import word_figure
from xmkeras.run.evaluator import Evaluator
from xmkeras.training.monitor import Monitor
from xmkeras.training.projector import Points, together, write_projector

_POINTS_A_SIDE = 1000


class Validation:
    """Measures the validation split when called with a step, and shows it in TensorBoard."""

    def __init__(self, evaluator: Evaluator, monitor: Monitor):
        self._evaluator = evaluator
        self._monitor = monitor
        self._measured: Measured | None = None

    def __call__(self, step: int) -> dict[str, float]:
        """The metrics by name, and those of a random order as "chance/" and the name.

        TensorBoard gets a picture of some queries with their first five images, if any, and one of where their words
        look, of methods that match words with regions.
        """
        measured = self._evaluator.measure()
        credit = self._evaluator.table.credit
        for name, picture in {"queries": self._picture(measured), "words": self._words(measured)}.items():
            if picture is not None:
                self._monitor.image(step, f"validation/{name}", picture, credit)
        self._measured = measured
        return measured.scalars | measured.chance

    @property
    def doubt(self) -> str:
        """What is to be told of the embeddings of the last evaluation; "" for nothing."""
        measured = self._measured
        if measured is None:
            return ""
        sets = {"image": measured.images} | ({} if measured.texts is None else {"text": measured.texts})
        return verdict.of_sets(sets, measured.score)

    def _picture(self, measured: Measured) -> np.ndarray | None:
        """Some queries and what they found, where there is something to look at."""
        thumbnail, credit = self._evaluator.thumbnail, self._evaluator.table.credit
        if thumbnail is None:
            return None
        if measured.ranked is None or measured.texts is None:
            (section, *_) = self._evaluator.protocol.sections(measured, Show(thumbnail, credit, examples=2))
            return figure_pixels(section.pictures[0].figure)
        return query_gallery_figure(
            measured.images,
            measured.texts,
            measured.captions,
            measured.ranked.text_to_image,
            thumbnail,
            relevance=measured.relevance,
            score=measured.score,
            credit=credit,
        )

    def _words(self, measured: Measured) -> np.ndarray | None:
        """Where the words of some texts look in their own images."""
        evaluator, texts, ranked = self._evaluator, measured.texts, measured.ranked
        if not evaluator.attends or evaluator.thumbnail is None or texts is None or ranked is None:
            return None
        places = np.random.default_rng(0).permutation(np.flatnonzero(np.isin(texts.ids, measured.images.ids)))[:4]
        found = answer(
            texts, measured.images, places, ranked.text_to_image, k=1, relevance=measured.relevance,
            score=turned(measured.score),
        )  # fmt: skip
        captions, credit = measured.captions, evaluator.table.credit
        figure = word_figure({"": found}, captions, texts.ids, evaluator.thumbnail, evaluator.looks, credit=credit)
        return None if figure is None else figure_pixels(figure)

    def write_projector(self) -> None:
        """Writes the images and captions of the last evaluation, with thumbnails, for TensorBoard's projector."""
        measured = self._measured
        if measured is None or callable(measured.score):  # a score of pairs has no space to be shown
            return
        images = measured.images
        one_caption: dict[str, str] = {}
        if measured.texts is not None:
            one_caption = dict(zip(measured.texts.ids.tolist(), measured.captions, strict=True))
        points = [self._points("image", images, [one_caption.get(name, "") for name in images.ids.tolist()])]
        if measured.texts is not None:
            points.append(self._points("text", measured.texts, measured.captions))
        shown = together("images and texts", *points) if len(points) > 1 else points[0]
        write_projector(self._monitor.tensorboard, [shown])

    def _points(self, name: str, items: EmbeddingSet, captions: Sequence[str]) -> Points:
        ids, thumbnail = items.ids.tolist(), self._evaluator.thumbnail
        picture: Callable[[int], np.ndarray] | None = None
        if thumbnail is not None:
            picture = lambda number: thumbnail(ids[number])  # noqa: E731
        assert not isinstance(items.vectors, Sequences)
        return Points(name, items.vectors, {"id": ids, "caption": list(captions)}, picture).at_most(_POINTS_A_SIDE)
