"""Your own feature pairs: one .npz, .mat, .h5 or parquet file with image vectors, text vectors, labels and splits."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from xmkeras.data.feature_files import pick, read_arrays
from xmkeras.data.feature_table import feature_table, set_aside
from xmkeras.data.rows import RowTable
from xmkeras.data.splits import hash_split, split_name
from xmkeras.errors import UserError

if TYPE_CHECKING:
    from xmkeras.data.sources import SourceOptions

_USUAL = {
    "image": ("image", "images", "image_features", "image_vector", "img"),
    "text": ("text", "texts", "text_features", "text_vector", "txt"),
    "label": ("label", "labels", "class", "category"),
    "split": ("split", "splits", "subset"),
    "id": ("image_id", "image_ids", "id", "ids"),
    "caption": ("text_id", "text_ids", "caption", "captions"),
}


def load(options: SourceOptions) -> RowTable:
    """Reads the arrays of `options.table` by their usual names, or by those that the `*_column` options give.

    The image vectors (n, f), the text vectors (n, t) and the labels (n,) have to be there; `split` (n,) may be
    missing, or have no validation rows: then a hash of the seed and the id makes the split, or sets the
    validation share of every class of the training rows aside. `image_id` and `text_id` (n,) name the items.

    Raises:
        UserError: no file is given, an array is missing, or a value is wrong.
    """
    path = options.table
    if not path:
        raise UserError(
            "The source features needs a file: give --table=FILE.npz (or .mat, .h5, .parquet) with image, text, label."
        )
    arrays = {name: _column(value) for name, value in read_arrays(path).items()}
    images, texts, labels = (_find(arrays, role, options) for role in ("image", "text", "label"))
    for role, found in (("image", images), ("text", texts), ("label", labels)):
        if found is None:
            have = ", ".join(f"{name} {value.shape}" for name, value in arrays.items())
            raise UserError(f"{path} has no {role} array but {have}; name it with --{role}_column.")
    assert images is not None
    assert texts is not None
    assert labels is not None
    ids, captions = _find(arrays, "id", options), _find(arrays, "caption", options)
    names = [f"row-{row:06d}" for row in range(len(labels))] if ids is None else [str(one) for one in ids.tolist()]
    return feature_table(
        os.path.splitext(os.path.basename(path))[0],
        images=images,
        texts=texts,
        labels=labels.tolist(),
        splits=_splits(_find(arrays, "split", options), names, labels, options),
        image_ids=names,
        text_ids=None if captions is None else [str(one) for one in captions.tolist()],
    )


def _column(value: np.ndarray) -> np.ndarray:
    """A matrix of one row or one column with a value a row, as MATLAB writes vectors, as a vector."""
    return value.ravel() if value.ndim == 2 and 1 in value.shape and value.dtype.kind in "iuSUO" else value


def _find(arrays: Mapping[str, np.ndarray], role: str, options: SourceOptions) -> np.ndarray | None:
    given = getattr(options, f"{role}_column")
    if given:
        return pick(arrays, given, options.table)
    return next((arrays[name] for name in _USUAL[role] if name in arrays), None)


def _splits(given: np.ndarray | None, names: list[str], labels: np.ndarray, options: SourceOptions) -> list[str]:
    if given is None:
        return [hash_split(f"{options.seed}:{name}", options.validation_share, options.test_share) for name in names]
    splits = [split_name(str(text)) for text in given.tolist()]
    for row, split in enumerate(splits):
        if split is None:
            raise UserError(
                f"{options.table} row {row + 1}: unknown split {given[row]!r}; expected train, validation or test."
            )
    chosen = [str(split) for split in splits]
    if "validation" not in chosen and options.validation_share:
        train = [row for row, split in enumerate(chosen) if split == "train"]
        aside = set_aside(
            [names[row] for row in train], labels[train].tolist(), options.validation_share, options.seed
        )
        for row in np.asarray(train)[aside]:
            chosen[row] = "validation"
    return chosen
