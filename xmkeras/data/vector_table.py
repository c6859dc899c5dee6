"""Tables whose images are vectors, beside text vectors, words or nothing."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence

import numpy as np

from xmkeras.data.columns import dense_labels
from xmkeras.data.row import SPLITS
from xmkeras.data.rows import RowTable
from xmkeras.errors import UserError

_AT_ONCE = 4096  # rows looked at together, so that a memory map need not fit into memory


def vector_table(
    name: str,
    *,
    images: np.ndarray,
    splits: Sequence[str],
    texts: np.ndarray | None = None,
    labels: Sequence[int | str] | None = None,
    image_ids: Sequence[str] | None = None,
    captions: Sequence[str] | None = None,
    label_names: dict[int | str, str] | None = None,
    credit: str = "",
) -> RowTable:
    """Checks vectors and what goes with them and turns them into a table; rows of one image id share that image.

    Args:
        name: of the data set.
        images: image vectors, finite, (n, f) one a row or (m, f) one a distinct image in order.
        splits: (n,) of "train", "validation", "test".
        texts: (n, t) text vectors, finite; None where texts are words, or where there are none.
        labels: (n,) classes; every image is its own label where they are missing.
        image_ids: (n,) names; the rows are numbered where they are missing.
        captions: (n,) words, or names of the text vectors; those of the images where both are missing.
        label_names: what to call a label; itself where it is missing.
        credit: attribution line.

    Returns:
        The table: `features` (m, f) and `text_features` (n, t), float16 if they come so, else float32.

    Raises:
        UserError: lengths differ, a value is not finite, a split is unknown, or rows of an image disagree.
    """
    names = [f"{name}-{row:05d}" for row in range(len(splits))] if image_ids is None else list(map(str, image_ids))
    captions = names if captions is None and texts is not None else captions
    columns = {"splits": splits, "image ids": names, "text vectors": texts, "labels": labels, "captions": captions}
    _check_lengths(name, {what: len(column) for what, column in columns.items() if column is not None})
    if unknown := sorted(set(splits) - set(SPLITS)):
        raise UserError(f"{name} has the unknown split {unknown[0]!r}; expected one of {', '.join(SPLITS)}.")
    first, index = distinct(names)
    for what, column in (("label", labels), ("split", splits)):
        if column is not None:
            _check_shared(name, what, np.asarray(column), first, index)
    numbers, texts_of_labels = dense_labels(list(names if labels is None else labels), list(splits))
    called = {str(label): text for label, text in (label_names or {}).items()}
    return RowTable(
        name,
        "image" if labels is None else "class",
        credit,
        captions=[()] * len(names) if captions is None else [(caption,) for caption in captions],
        labels=numbers,
        label_names=[called.get(text, text) for text in texts_of_labels],
        image_ids=names,
        image_index=index,
        splits=np.asarray(splits),
        categories=[""] * len(names),
        features=by_image(name, images, index),
        text_features=None if texts is None else _checked(name, "text", texts),
        text_index=None if texts is None else np.arange(len(names)),
    )


def by_image(name: str, vectors: np.ndarray, index: np.ndarray) -> np.ndarray:
    """The vectors of the distinct images, as they lie where there is one for each of them.

    Args:
        name: of the data set, for messages.
        vectors: one a row (n, f), or one a distinct image (m, f).
        index: (n,) the number of each row's image, 0 to m - 1 in order of first appearance.

    Returns:
        (m, f), float16 if they come so, else float32.

    Raises:
        UserError: there are as many as neither rows nor images, or rows of one image differ.
    """
    first = np.unique(index, return_index=True)[1]
    if len(vectors) not in (len(first), len(index)):
        raise UserError(
            f"{name} has {len(vectors)} image vectors for {len(index)} rows of {len(first)} distinct images; give one "
            "for each row, or one for each image in order of first appearance."
        )
    vectors = _checked(name, "image", vectors)
    if len(vectors) == len(first):
        return vectors
    _check_shared(name, "image vector", vectors, first, index)
    return vectors[first]


def distinct(names: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """The first row of each distinct name, in order, and the number of the name of each row."""
    numbers: dict[str, int] = {}
    index = np.array([numbers.setdefault(name, len(numbers)) for name in names], np.int64)
    return np.unique(index, return_index=True)[1], index


def with_validation(
    name: str,
    splits: Sequence[str],
    ids: Sequence[str],
    labels: Sequence[int | str] | None,
    share: float,
    seed: int = 0,
) -> list[str]:
    """The splits of rows, with a share of the training images of every class for validation where there is none.

    Args:
        name: of the data set, for messages.
        splits: (n,) of "train", "validation", "test".
        ids: (n,) names of the images or texts that stay in one split.
        labels: (n,) classes, or None where every image is its own.
        share: of the images of a class, 0 to 1.
        seed: of the hash that chooses.

    Raises:
        UserError: lengths differ.
    """
    labels = [0] * len(ids) if labels is None else labels
    _check_lengths(name, {"splits": len(splits), "ids": len(ids), "labels": len(labels)})
    chosen = np.array(splits, dtype="<U10")
    if "validation" not in chosen:
        first, index = distinct(ids)
        train = np.flatnonzero(chosen[first] == "train")
        rows = first[train]
        aside = set_aside([ids[row] for row in rows], [labels[row] for row in rows], share, seed)
        chosen[np.isin(index, train[aside])] = "validation"
    return [str(split) for split in chosen]


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


def _check_lengths(name: str, lengths: dict[str, int]) -> None:
    if len(set(lengths.values())) > 1:
        counts = ", ".join(f"{count} {what}" for what, count in lengths.items())
        raise UserError(f"The columns of {name} differ in length ({counts}); give each row one of each.")
    if not lengths["splits"]:
        raise UserError(f"The data set {name} has no rows; give it at least one image vector.")


def _checked(name: str, side: str, vectors: np.ndarray) -> np.ndarray:
    """Finite vectors, or an image's regions, in float32, or as they lie where they are in half precision."""
    ranks = (2, 3) if side == "image" else (2,)
    if vectors.ndim not in ranks or not vectors[:1].size or vectors.dtype.kind not in "fiub":
        raise UserError(
            f"The {side} vectors of {name} have shape {vectors.shape} and type {vectors.dtype}; expected numbers, one "
            "vector a row."
        )
    for rows in _some(np.arange(len(vectors))):
        finite = np.isfinite(vectors[rows]).reshape(len(rows), -1).all(axis=1)
        if not finite.all():
            row = int(rows[np.argmin(finite)])
            raise UserError(f"The {side} vector of row {row + 1} of {name} holds a NaN or an infinite value.")
    return vectors if vectors.dtype in (np.float16, np.float32) else vectors.astype(np.float32)


def _check_shared(name: str, what: str, column: np.ndarray, first: np.ndarray, index: np.ndarray) -> None:
    """Says which row differs from the first one of its image."""
    for rows in _some(np.flatnonzero(first[index] != np.arange(len(index)))):
        differs = column[rows] != column[first[index[rows]]]
        at = np.flatnonzero(differs.reshape(len(rows), -1).any(axis=1))
        if len(at):
            row = int(rows[at[0]])
            raise UserError(
                f"Row {row + 1} of {name} has another {what} than row {first[index[row]] + 1}, though both are of one "
                "image; make them equal or give the images ids of their own."
            )


def _some(rows: np.ndarray) -> Iterator[np.ndarray]:
    return (rows[start : start + _AT_ONCE] for start in range(0, len(rows), _AT_ONCE))
