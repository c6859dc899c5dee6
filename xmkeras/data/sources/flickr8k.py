"""Flickr8K: 8,000 photographs with five sentences each, in Karpathy's split."""

from __future__ import annotations

from typing import TYPE_CHECKING

from xmkeras.data.karpathy import load_karpathy
from xmkeras.data.rows import RowTable

if TYPE_CHECKING:
    from xmkeras.data.sources import SourceOptions

IMAGES = "Flickr8k_Dataset.zip from https://hockenmaier.cs.illinois.edu/8k-pictures.html"


def load(options: SourceOptions) -> RowTable:
    """Reads `data_dir/flickr8k`: `dataset_flickr8k.json` and `Flicker8k_Dataset/*.jpg`; 6,000/1,000/1,000 images.

    The folder is spelt as in the published archive.

    Raises:
        UserError: see `xmkeras.data.karpathy.load_karpathy`.
    """
    return load_karpathy("flickr8k", options, images=("Flicker8k_Dataset",), archive=IMAGES)
