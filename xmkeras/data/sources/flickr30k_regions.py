"""Flickr30K as pre-computed regions: 36 of 2,048 numbers an image, as SCAN, BFAN and VSRN read them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from xmkeras.data.region_folder import Layout, load_regions
from xmkeras.data.rows import RowTable

if TYPE_CHECKING:
    from xmkeras.data.sources import SourceOptions

LAYOUT = Layout(
    "flickr30k_regions",
    ("f30k_precomp", "f30k/precomp", "flickr30k_regions"),
    vocabulary="vocab/f30k_precomp_vocab.json",
    pictures="flickr30k-images",
)


def load(options: SourceOptions) -> RowTable:
    """Reads `data_dir/f30k_precomp`: 29,000 images to train on, the first 1,000 of `dev`, and 1,000 for tests.

    Raises:
        UserError: see `xmkeras.data.region_folder.load_regions`.
    """
    return load_regions(LAYOUT, options)
