"""COCO captions of 2014: 123,287 photographs with five sentences or more each, in Karpathy's split."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from xmkeras.data.karpathy import load_karpathy
from xmkeras.data.region_folder import load_pictures
from xmkeras.data.rows import RowTable
from xmkeras.data.sources.coco_regions import LAYOUT

if TYPE_CHECKING:
    from xmkeras.data.sources import SourceOptions

IMAGES = "train2014.zip and val2014.zip from https://cocodataset.org/#download"


def load(options: SourceOptions) -> RowTable:
    """Reads `data_dir/coco`: `dataset_coco.json`, `train2014/*.jpg` and `val2014/*.jpg`.

    113,287 images to train on ("train" and "restval"), 5,000 for validation and 5,000 for tests.

    Where that file is not there, `data_dir/coco` is read in the layout of VSE-infinity (`load_pictures`).

    Raises:
        UserError: see `xmkeras.data.karpathy.load_karpathy`.
    """
    published = os.path.join(options.root, "coco", "dataset_coco.json")
    mapped = None if os.path.isfile(published) else load_pictures("coco", LAYOUT, options)
    if mapped is not None:
        return mapped
    return load_karpathy("coco", options, images=("train2014", "val2014"), archive=IMAGES)
