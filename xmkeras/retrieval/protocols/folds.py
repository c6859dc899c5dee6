"""COCO's 1K and 5K: recalls inside equal parts of the gallery, averaged, and those of the whole."""

import dataclasses

import numpy as np

from xmkeras.errors import UserError
from xmkeras.retrieval.measured import FOLDS, Measured, Split
from xmkeras.retrieval.protocols.captions import Captions, needed

WHOLE = "whole/"


class Folds(Captions):
    """The figures of `captions` as their mean over the folds (COCO 1K), and of all images as "whole/..." (5K).

    Fold f holds the images f n / folds to (f + 1) n / folds, in order, and their texts.
    """

    def figures(self, label_kind: str, gallery_size: int) -> tuple[str, ...]:
        self._check(gallery_size, FOLDS)
        names = super().figures(label_kind, gallery_size)
        return names + tuple(WHOLE + name for name in names)

    def measure(self, split: Split) -> Measured:
        images, texts = split.images, needed(split.texts)
        parts = []
        # Nearly equal where some of the images could not be read.
        for rows in np.array_split(np.arange(len(images)), split.folds):
            own = images.take(rows)
            their = texts.take(np.isin(texts.ids, own.ids))
            parts.append(super().measure(dataclasses.replace(split, images=own, texts=their, captions=[])).results)
        results = {name: float(np.mean([part[name] for part in parts])) for name in parts[0]}
        whole = super().measure(split)
        return dataclasses.replace(whole, results=results | {_whole(name): v for name, v in whole.results.items()})

    def _check(self, images: int, folds: int) -> None:
        if not images or images % folds:
            raise UserError(
                f"{images} images cannot be cut into {folds} equal folds; measure them with --protocol=captions."
            )


def _whole(name: str) -> str:
    chance = "chance/" if name.startswith("chance/") else ""
    return f"{chance}{WHOLE}{name.removeprefix('chance/')}"


PROTOCOL = Folds()
