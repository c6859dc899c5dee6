"""Your own regions: a folder of `{split}_ims.npy` and `{split}_caps.txt`, as tools/convert_regions.py writes it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from xmkeras.data.region_folder import Layout, load_regions
from xmkeras.data.rows import RowTable
from xmkeras.errors import UserError

if TYPE_CHECKING:
    from xmkeras.data.sources import SourceOptions


def load(options: SourceOptions) -> RowTable:
    """Reads the folder that `options.table` names; images have as many captions as the files say, all the same.

    Raises:
        UserError: no folder is given, or see `xmkeras.data.region_folder.load_regions`.
    """
    folder = os.path.abspath(os.path.expanduser(options.table))
    if not options.table or not os.path.isdir(folder):
        raise UserError(
            "The source regions needs a folder: give --table=FOLDER with train_ims.npy, train_caps.txt and so on; "
            "python -m tools.convert_regions makes one."
        )
    page = "your own features (python -m tools.convert_regions makes them)"
    return load_regions(Layout(os.path.basename(folder), (folder,), captions=0, validation=0, page=page), options)
