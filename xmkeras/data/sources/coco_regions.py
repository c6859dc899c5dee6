"""COCO as pre-computed regions: 36 of 2,048 numbers an image, as SCAN, BFAN and VSRN read them."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from xmkeras.data.region_folder import Layout, load_regions
from xmkeras.data.rows import RowTable
from xmkeras.errors import UserError

if TYPE_CHECKING:
    from xmkeras.data.sources import SourceOptions

LAYOUT = Layout(
    "coco_regions",
    ("coco_precomp", "coco/precomp", "coco_regions"),
    tests=("testall", "test"),
    vocabulary="vocab/coco_precomp_vocab.json",
)


def load(options: SourceOptions) -> RowTable:
    """Reads `data_dir/coco_precomp`: 113,287 images to train on, the first 1,000 of `dev`, and 5,000 for tests.

    The split rule "1k" tests on the first thousand, `test`, in place of `testall`.

    Raises:
        UserError: see `xmkeras.data.region_folder.load_regions`; or another split rule.
    """
    if options.split_rule not in ("", "1k"):
        raise UserError(f"--split_rule={options.split_rule} is not known for coco_regions; give 1k, or nothing.")
    layout = dataclasses.replace(LAYOUT, tests=("test",)) if options.split_rule else LAYOUT
    return load_regions(layout, options)
