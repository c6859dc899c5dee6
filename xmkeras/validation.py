"""What training shows of its validation split: metrics, a picture of queries, the embedding projector."""

from __future__ import annotations

from xmkeras.evaluation import Evaluator, Measured
from xmkeras.retrieval.gallery import query_gallery_figure
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
        """The metrics by name; TensorBoard gets a picture of some queries with their first five images, if any."""
        measured = self._evaluator.measure()
        if self._evaluator.thumbnail is not None:
            credit = self._evaluator.table.credit
            picture = query_gallery_figure(
                measured.images,
                measured.texts,
                measured.captions,
                measured.ranked.text_to_image,
                self._evaluator.thumbnail,
                relevance=measured.relevance,
                credit=credit,
            )
            self._monitor.image(step, "validation/queries", picture, credit)
        self._measured = measured
        return measured.scalars

    def write_projector(self) -> None:
        """Writes the images and captions of the last evaluation, with thumbnails, for TensorBoard's projector."""
        if self._measured is None:
            return
        images, texts, captions = self._measured.images, self._measured.texts, self._measured.captions
        names, owners = images.ids.tolist(), texts.ids.tolist()
        one_caption = dict(zip(owners, captions, strict=True))
        thumbnail = self._evaluator.thumbnail
        both = together(
            "images and texts",
            Points(
                "image",
                images.vectors,
                {"id": names, "caption": [one_caption.get(name, "") for name in names]},
                None if thumbnail is None else lambda number: thumbnail(names[number]),
            ).at_most(_POINTS_A_SIDE),
            Points(
                "text",
                texts.vectors,
                {"id": owners, "caption": captions},
                None if thumbnail is None else lambda number: thumbnail(owners[number]),
            ).at_most(_POINTS_A_SIDE),
        )
        write_projector(self._monitor.tensorboard, [both])
