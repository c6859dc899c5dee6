"""NUS-WIDE-10K: 10,000 photographs of the ten largest classes with their tags, as published feature matrices."""

from __future__ import annotations

from typing import TYPE_CHECKING

from xmkeras.data.rows import RowTable
from xmkeras.data.vector_folder import load_folder

if TYPE_CHECKING:
    from xmkeras.data.sources import SourceOptions

PAGE = "https://github.com/sunpeng981712364/ACMR_demo (its pickles saved as matrices, since a pickle can run code)"


def load(options: SourceOptions) -> RowTable:
    """Reads the matrices in `nus_wide_10k/` below the data directory; see `vector_folder.load_folder`.

    Papers split the set 8,000 / 1,000 / 1,000: the files decide.

    Raises:
        UserError: files are missing or do not fit one another.
    """
    return load_folder("nus_wide_10k", PAGE, options)
