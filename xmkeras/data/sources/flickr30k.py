"""Flickr30K: 31,014 photographs with five sentences each, in Karpathy's split."""

from __future__ import annotations

from typing import TYPE_CHECKING

from xmkeras.data.karpathy import load_karpathy
from xmkeras.data.rows import RowTable

if TYPE_CHECKING:
    from xmkeras.data.sources import SourceOptions

IMAGES = "flickr30k-images.tar from https://shannon.cs.illinois.edu/DenotationGraph/"


def load(options: SourceOptions) -> RowTable:
    """Reads `data_dir/flickr30k`: `dataset_flickr30k.json` and `flickr30k-images/*.jpg`; 29,000/1,014/1,000 images.

    Raises:
        UserError: see `xmkeras.data.karpathy.load_karpathy`.
    """
    return load_karpathy("flickr30k", options, images=("flickr30k-images",), archive=IMAGES)
