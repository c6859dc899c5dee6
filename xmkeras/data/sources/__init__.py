"""Data sets by name: each module here reads one and has `load(options) -> RowTable`."""

from __future__ import annotations

import dataclasses
import importlib
import os
import pkgutil
from collections.abc import Callable, Mapping
from typing import Literal

import numpy as np

from xmkeras.data.rows import RowTable
from xmkeras.errors import UserError, refuse


@dataclasses.dataclass(frozen=True)
class SourceOptions:
    """Everything a source may ask for; each uses what concerns it.

    Attributes:
        data_dir: root of caches and of downloaded sets; "~" is the home directory.
        table: path of the CSV or JSON-lines file.
        image_root: folder that relative image paths start from; beside the table where empty.
        columns: role -> column or array of the table (several captions with commas); those of roles that are not
            named are found by their usual names. See `xmkeras.data.roles`.
        captions: rows have captions, or text vectors; False where a run embeds images alone, which need none.
        label_kind: what the label column means, "class" or "identity"; judged by its name where empty.
        seed: of a split that the source makes itself.
        identity_disjoint: a split made here keeps all rows of a label on one side.
        validation_share, test_share: of the images (of the labels with `identity_disjoint`), 0 to 1.
        render_size: side of rendered drawings, pixels.
        skin_tones: train on the skin tones of a drawing too, which OpenMoji's validation and test do not hold.
        check_images: look for every image file while loading.
        limit: keep so many images of each split at most; 0 keeps all.
        image_features, text_features: vectors in place of pictures or words: a name that the source knows, or a
            file, `FILE` or `FILE:ARRAY`.
        fault: is told of each row that is broken, and leaves it out unless it raises; of --source=table alone.
        vocabulary: JSON of the words that a source's captions are numbered by; a path from here or from `data_dir`.
        split_rule: one of the ways in which a set has been split, by the name its source gives it.
    """

    data_dir: str = "~/.cache/xmkeras"
    table: str = ""
    image_root: str = ""
    columns: Mapping[str, str] = dataclasses.field(default_factory=dict)
    captions: bool = True
    label_kind: Literal["", "class", "identity"] = ""
    seed: int = 0
    identity_disjoint: bool = False
    validation_share: float = 0.1
    test_share: float = 0.2
    render_size: int = 128
    skin_tones: bool = True
    check_images: bool = True
    limit: int = 0
    image_features: str = ""
    text_features: str = ""
    split_rule: str = ""
    vocabulary: str = ""
    fault: Callable[[str], None] = refuse

    @property
    def root(self) -> str:
        """`data_dir` as an absolute path."""
        return os.path.abspath(os.path.expanduser(self.data_dir))


def source_names() -> list[str]:
    """The names that `load_source` knows: the modules of this folder."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def load_source(name: str, options: SourceOptions) -> RowTable:
    """Loads the data set `name`.

    Raises:
        UserError: there is no such source, or it cannot be loaded.
    """
    if name not in source_names():
        raise UserError(f"Unknown source {name!r}; choose one of {', '.join(source_names())}.")
    table: RowTable = importlib.import_module(f"{__name__}.{name}").load(options)
    for side, array in (("image", table.features), ("text", table.text_features)):
        if getattr(options, f"{side}_features") and array is None and (side == "image" or options.captions):
            raise UserError(f"--{side}_features means nothing to --source={name}, which has {side}s of its own.")
    if options.limit:
        table = _first_images(table, options.limit)
    return table if options.captions else table.without_captions()


def _first_images(table: RowTable, limit: int) -> RowTable:
    kept: list[np.ndarray] = []
    for split in table.split_names:
        rows = np.flatnonzero(table.splits == split)
        images = table.image_index[rows]
        first = images[np.sort(np.unique(images, return_index=True)[1])][:limit]
        kept.append(rows[np.isin(images, first)])
    return table.take(np.sort(np.concatenate(kept)))
