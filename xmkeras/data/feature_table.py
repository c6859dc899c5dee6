"""Tables of feature pairs: an image vector and a text vector a row."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from xmkeras.data.columns import dense_labels
from xmkeras.data.row import SPLITS
from xmkeras.data.rows import RowTable
from xmkeras.errors import UserError


def feature_table(
    name: str,
    *,
    images: np.ndarray,
    texts: np.ndarray,
    labels: Sequence[int | str],
    splits: Sequence[str],
    image_ids: Sequence[str] | None = None,
    text_ids: Sequence[str] | None = None,
    label_names: dict[int | str, str] | None = None,
    credit: str = "",
) -> RowTable:
    """Checks pairs of vectors and turns them into a table; rows of one image id share that image.

    Args:
        name: of the data set.
        images: (n, f) image vectors, finite.
        texts: (n, t) text vectors, finite.
        labels: (n,) classes.
        splits: (n,) of "train", "validation", "test".
        image_ids: (n,) names; the rows are numbered where they are missing.
        text_ids: (n,) names, shown in reports in place of the words; those of the images where they are missing.
        label_names: what to call a label; itself where it is missing.
        credit: attribution line.

    Returns:
        The table: `features` (images, f) and `text_features` (n, t) float32, labelled by class.

    Raises:
        UserError: lengths differ, a value is not finite, a split is unknown, or rows of an image disagree.
    """
    names = [f"{name}-{row:05d}" for row in range(len(images))] if image_ids is None else list(map(str, image_ids))
    captions = names if text_ids is None else list(map(str, text_ids))
    _check_lengths(name, {"image vectors": images, "text vectors": texts, "labels": labels, "splits": splits,
                          "image ids": names, "text ids": captions})  # fmt: skip
    for kind, vectors in (("image", images), ("text", texts)):
        _check_vectors(name, kind, vectors)
    if unknown := sorted(set(splits) - set(SPLITS)):
        raise UserError(f"{name} has the unknown split {unknown[0]!r}; expected one of {', '.join(SPLITS)}.")
    first, index = _distinct(names)
    for what, column in (("image vector", images), ("label", np.asarray(labels)), ("split", np.asarray(splits))):
        _check_shared(name, what, column, names, first, index)
    numbers, texts_of_labels = dense_labels(list(labels), list(splits))
    called = {str(label): text for label, text in (label_names or {}).items()}
    return RowTable(
        name,
        "class",
        credit,
        captions=[(caption,) for caption in captions],
        labels=numbers,
        label_names=[called.get(text, text) for text in texts_of_labels],
        image_ids=names,
        image_index=index,
        splits=np.asarray(splits),
        categories=[""] * len(names),
        features=np.ascontiguousarray(images[first], np.float32),
        text_features=np.ascontiguousarray(texts, np.float32),
    )


def set_aside(ids: Sequence[str], labels: Sequence[int | str], share: float, seed: int = 0) -> np.ndarray:
    """Which rows a validation part takes: the same share of every class, by a hash of seed and id.

    Args:
        ids: (n,) names of the rows.
        labels: (n,) classes.
        share: 0 to 1, rounded to whole rows of each class.
        seed: of the hash.

    Returns:
        bool (n,).
    """
    keys = [hashlib.sha256(f"{seed}:{name}".encode()).digest() for name in ids]
    rows_of: dict[int | str, list[int]] = {}
    for row, label in enumerate(labels):
        rows_of.setdefault(label, []).append(row)
    chosen = np.zeros(len(keys), bool)
    for rows in rows_of.values():
        chosen[sorted(rows, key=lambda row: keys[row])[: round(share * len(rows))]] = True
    return chosen


def _check_lengths(name: str, columns: dict[str, Sequence[object] | np.ndarray]) -> None:
    lengths = {what: len(column) for what, column in columns.items()}
    if len(set(lengths.values())) > 1:
        counts = ", ".join(f"{count} {what}" for what, count in lengths.items())
        raise UserError(f"The columns of {name} differ in length ({counts}); give each row one of each.")
    if not lengths["labels"]:
        raise UserError(f"The data set {name} has no rows; give it at least one pair of vectors.")


def _check_vectors(name: str, kind: str, vectors: np.ndarray) -> None:
    if vectors.ndim != 2 or not vectors.shape[1] or vectors.dtype.kind not in "fiub":
        raise UserError(
            f"The {kind} vectors of {name} have shape {vectors.shape} and type {vectors.dtype}; expected numbers, "
            "one row a pair."
        )
    finite = np.isfinite(vectors).all(axis=1)
    if not finite.all():
        row = int(np.flatnonzero(~finite)[0])
        raise UserError(f"The {kind} vector of row {row + 1} of {name} holds a NaN or an infinite value.")


def _distinct(names: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """The first row of each distinct name, in order, and the number of the name of each row."""
    numbers: dict[str, int] = {}
    index = np.array([numbers.setdefault(name, len(numbers)) for name in names], np.int64)
    return np.sort(np.unique(index, return_index=True)[1]), index


def _check_shared(
    name: str, what: str, column: np.ndarray, names: list[str], first: np.ndarray, index: np.ndarray
) -> None:
    differs = column != column[first][index]
    rows = np.flatnonzero(differs.any(axis=1) if differs.ndim == 2 else differs)
    if len(rows):
        row, before = int(rows[0]), int(first[index[rows[0]]])
        raise UserError(
            f"Row {row + 1} of {name} has another {what} than row {before + 1}, though both are image "
            f"{names[row]!r}; make them equal or give the images names of their own."
        )
