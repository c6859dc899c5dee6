"""Your own vectors: one .npz, .mat, .h5 or parquet file of image vectors with text vectors or captions."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np

from xmkeras.data.array_files import read_arrays
from xmkeras.data.roles import find_columns
from xmkeras.data.rows import RowTable
from xmkeras.data.splits import hash_split, split_name
from xmkeras.data.vector_table import vector_table, with_validation
from xmkeras.errors import UserError

if TYPE_CHECKING:
    from xmkeras.data.sources import SourceOptions

_MATRICES: dict[str, tuple[str, ...]] = {
    "image": ("image", "images", "image_features", "image_vector", "img"),
    "text": ("text", "texts", "text_features", "text_vector", "txt"),
}
_COLUMNS: dict[str, tuple[str, ...]] = {
    "label": ("label", "labels", "class", "category"),
    "split": ("split", "splits", "subset"),
    "id": ("image_id", "image_ids", "id", "ids"),
}
_WORDS = ("caption", "captions", "sentence", "sentences", "text", "texts")
_NAMES = ("text_id", "text_ids", "caption", "captions")  # of text vectors


def load(options: SourceOptions) -> RowTable:
    """Reads the arrays of `options.table` by their usual names, or by those that `options.columns` gives.

    The image vectors (n, f) have to be there, and unless a run embeds images alone the text vectors (n, t) or the
    captions (n,), one a row. Without labels (n,) every image is its own. `split` (n,) may be missing, or have no
    validation rows: then a hash of the seed and the id makes the split, or sets the validation share of every class of
    the training images aside. `image_id` (n,) names the images, which rows may share, `text_id` (n,) the text vectors.

    Raises:
        UserError: no file is given, an array is missing, or a value is wrong.
    """
    path = options.table
    if not path:
        raise UserError(
            "The source features needs a file: give --table=FILE.npz (or .mat, .h5, .parquet) with image, text, label."
        )
    found = _arrays(path, options)
    if "image" not in found:
        raise _missing(path, "image", "image=NAME")
    if options.captions and not found.keys() & {"text", "caption"}:
        raise _missing(path, "text", "text=NAME (vectors) or caption=NAME (words)")
    rows = len(next(found[role] for role in ("caption", "text", "label", "image") if role in found))
    names = _strings(found["id"]) if "id" in found else [f"row-{row:06d}" for row in range(rows)]
    labels = found["label"].tolist() if "label" in found else None
    return vector_table(
        os.path.splitext(os.path.basename(path))[0],
        images=found["image"],
        texts=found.get("text"),
        labels=labels,
        splits=_splits(found.get("split"), names, labels, options),
        image_ids=names,
        captions=_strings(found["caption"]) if "caption" in found else None,
    )


def _arrays(path: str, options: SourceOptions) -> dict[str, np.ndarray]:
    """The array of each role that the file has."""
    arrays = {name: _column(value) for name, value in read_arrays(path).items()}
    matrices = {name.lower() for name, array in arrays.items() if array.ndim > 1}
    usual = {role: tuple(name for name in names if name in matrices) for role, names in _MATRICES.items()}
    texts = find_columns(list(arrays), options.columns, usual, path)["text"]
    usual |= _COLUMNS | {"caption": _NAMES if texts else _WORDS}
    columns = find_columns(list(arrays), options.columns, usual, path)
    return {role: arrays[names[0]] for role, names in columns.items() if names}


def _missing(path: str, role: str, columns: str) -> UserError:
    have = ", ".join(f"{name} {value.shape}" for name, value in read_arrays(path).items())
    return UserError(f"{path} has no {role} array but {have}; name it with --columns={columns}.")


def _column(value: np.ndarray) -> np.ndarray:
    """A matrix of one row or one column with a value a row, as MATLAB writes vectors, as a vector."""
    return value.ravel() if value.ndim == 2 and 1 in value.shape and value.dtype.kind in "iuSUO" else value


def _strings(column: np.ndarray) -> list[str]:
    return [str(value).strip() for value in column.tolist()]


def _splits(
    given: np.ndarray | None, names: list[str], labels: list[int | str] | None, options: SourceOptions
) -> list[str]:
    if given is None:
        return [hash_split(f"{options.seed}:{name}", options.validation_share, options.test_share) for name in names]
    splits = [split_name(str(text)) for text in given.tolist()]
    for row, split in enumerate(splits):
        if split is None:
            raise UserError(
                f"{options.table} row {row + 1}: unknown split {given[row]!r}; expected train, validation or test."
            )
    chosen = [str(split) for split in splits]
    return with_validation(options.table, chosen, names, labels, options.validation_share, options.seed)
