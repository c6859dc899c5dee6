"""Flickr30K: 31,014 photographs with five sentences each, in Karpathy's split."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from xmkeras.data.karpathy import load_karpathy
from xmkeras.data.region_folder import load_pictures
from xmkeras.data.rows import RowTable
from xmkeras.data.sources.flickr30k_regions import LAYOUT

if TYPE_CHECKING:
    from xmkeras.data.sources import SourceOptions

IMAGES = "flickr30k-images.tar from https://shannon.cs.illinois.edu/DenotationGraph/"


def load(options: SourceOptions) -> RowTable:
    """Reads `data_dir/flickr30k`: `dataset_flickr30k.json` and `flickr30k-images/*.jpg`; 29,000/1,014/1,000 images.

    Where that file is not there, `data_dir/f30k` is read in the layout of VSE-infinity (`load_pictures`).

    Raises:
        UserError: see `xmkeras.data.karpathy.load_karpathy`.
    """
    published = os.path.join(options.root, "flickr30k", "dataset_flickr30k.json")
    mapped = None if os.path.isfile(published) else load_pictures("flickr30k", LAYOUT, options)
    if mapped is not None:
        return mapped
    return load_karpathy("flickr30k", options, images=("flickr30k-images",), archive=IMAGES)
