"""Pascal Sentence: 1,000 photographs of 20 classes with five sentences each, as published feature matrices."""

from __future__ import annotations

from typing import TYPE_CHECKING

from xmkeras.data.rows import RowTable
from xmkeras.data.vector_folder import load_folder

if TYPE_CHECKING:
    from xmkeras.data.sources import SourceOptions

PAGE = "https://github.com/penghu-cs/DSCMR (data/pascal)"


def load(options: SourceOptions) -> RowTable:
    """Reads the matrices in `pascal_sentence/` below the data directory; see `vector_folder.load_folder`.

    Papers split the set 800 / 100 / 100, or 800 / 200 without a validation part: the files decide.

    Raises:
        UserError: files are missing or do not fit one another.
    """
    return load_folder("pascal_sentence", PAGE, options)
