"""COCO captions of 2014: 123,287 photographs with five sentences or more each, in Karpathy's split."""

from __future__ import annotations

from typing import TYPE_CHECKING

from xmkeras.data.karpathy import load_karpathy
from xmkeras.data.rows import RowTable

if TYPE_CHECKING:
    from xmkeras.data.sources import SourceOptions

IMAGES = "train2014.zip and val2014.zip from https://cocodataset.org/#download"


def load(options: SourceOptions) -> RowTable:
    """Reads `data_dir/coco`: `dataset_coco.json`, `train2014/*.jpg` and `val2014/*.jpg`.

    113,287 images to train on ("train" and "restval"), 5,000 for validation and 5,000 for tests.

    Raises:
        UserError: see `xmkeras.data.karpathy.load_karpathy`.
    """
    return load_karpathy("coco", options, images=("train2014", "val2014"), archive=IMAGES)
