"""The columnar table of rows that every data set is turned into."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import os
from collections.abc import Callable, Iterable
from typing import Any, Protocol

import numpy as np

from xmkeras.data.columns import ColumnBuilder
from xmkeras.data.regions import Boxes
from xmkeras.data.row import SPLITS, BadRow, LabelKind, Row, check_row
from xmkeras.data.stacked import Array
from xmkeras.errors import UserError, refuse

# Arrays of so many bytes are told apart by so many of their rows; others are hashed in blocks of bytes.
_LARGE, _SAMPLE, _BLOCK_BYTES = 2**30, 1000, 2**24

__all__ = ["SPLITS", "BadRow", "EncodedImages", "LabelKind", "Row", "RowTable", "check_row"]


class EncodedImages(Protocol):
    """Random access to encoded images by the number of the distinct image (0 to n - 1)."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: Any, /) -> Any: ...


@dataclasses.dataclass(frozen=True, eq=False)
class RowTable:
    """The rows of a data set as columns; holds no decoded image. Make one with `from_rows`.

    Attributes:
        name: of the data set.
        label_kind: what a label stands for.
        credit: attribution line to show wherever images are shown; "" when none is owed.
        captions, image_ids, splits, categories: one entry a row; no caption in any of them where images stand alone.
        labels: int64 (n,); dense over the whole table, those of the training split first.
        label_names: the name of each label.
        image_index: int64 (n,); the number of each row's distinct image in the whole table. Numbers may be left out.
        image_paths: one a row, or None where images come as bytes or features; beside features, pictures to be shown.
        encoded: encoded images by `image_index`, or None.
        features: float32 or float16 (images, ...) by `image_index`, possibly memory maps, or None.
        text_features: float32 or float16 (texts, t), vectors of texts, or None where texts are words.
        text_index: int64 (n,); where each row's text stands in `text_features`, or None.
        boxes: where the regions of the images lie, by `image_index`, or None.
    """

    name: str
    label_kind: LabelKind
    credit: str
    captions: list[tuple[str, ...]]
    labels: np.ndarray
    label_names: list[str]
    image_ids: list[str]
    image_index: np.ndarray
    splits: np.ndarray
    categories: list[str]
    image_paths: list[str] | None = None
    encoded: EncodedImages | None = None
    features: Array | None = None
    text_features: np.ndarray | None = None
    text_index: np.ndarray | None = None
    boxes: Boxes | None = None

    @classmethod
    def from_rows(
        cls,
        name: str,
        rows: Iterable[Row],
        *,
        label_kind: LabelKind,
        credit: str = "",
        place: Callable[[int], str] | None = None,
        check_images: bool = True,
        captions: bool = True,
        fault: Callable[[str], None] = refuse,
    ) -> RowTable:
        """Checks `rows` and turns them into columns.

        Args:
            name: of the data set.
            rows: read once, in order.
            label_kind: with "image" every distinct image is its own label, whatever the rows say.
            credit: attribution line.
            place: from a row's number to where it stands, for messages.
            check_images: look for every image file.
            captions: every row has to have one.
            fault: is told of each row that is bad or contradicts another, and leaves it out unless it raises.

        Raises:
            UserError: there is no row; by default also where one is bad.
        """
        place = place or (lambda number: f"row {number + 1} of {name}")
        builder = ColumnBuilder(label_kind, place, check_images, captions, fault)
        for row in rows:
            builder.add(row)
        return cls(name, label_kind, credit, **builder.columns(name))

    def __len__(self) -> int:
        return len(self.captions)

    @property
    def num_labels(self) -> int:
        return len(self.label_names)

    @property
    def num_images(self) -> int:
        """The number of distinct images among these rows."""
        return len(np.unique(self.image_index))

    @property
    def split_names(self) -> list[str]:
        """The splits that have rows, in the order of `SPLITS`."""
        present = set(np.unique(self.splits).tolist())
        return [split for split in SPLITS if split in present]

    def take(self, rows: np.ndarray) -> RowTable:
        """The table of the given row numbers, in that order; labels and image numbers stay what they are."""
        return dataclasses.replace(
            self,
            captions=[self.captions[row] for row in rows],
            labels=self.labels[rows],
            image_ids=[self.image_ids[row] for row in rows],
            image_index=self.image_index[rows],
            splits=self.splits[rows],
            categories=[self.categories[row] for row in rows],
            image_paths=None if self.image_paths is None else [self.image_paths[row] for row in rows],
            text_index=None if self.text_index is None else self.text_index[rows],
        )

    def without_captions(self) -> RowTable:
        """The same images and labels with no texts."""
        return dataclasses.replace(self, captions=[()] * len(self), text_features=None, text_index=None)

    def split(self, name: str) -> RowTable:
        """The rows of one split. Labels keep their numbers; names beyond the greatest of them are left out,
        so that `num_labels` of the training split counts the training labels alone.

        Raises:
            UserError: the split is empty or unknown.
        """
        rows = np.flatnonzero(self.splits == name)
        if not len(rows):
            have = ", ".join(self.split_names)
            raise UserError(f"The data set {self.name} has no rows in split {name!r}; its splits are {have}.")
        part = self.take(rows)
        return dataclasses.replace(part, label_names=self.label_names[: int(part.labels.max()) + 1])

    def distinct_images(self) -> np.ndarray:
        """The number of the first row of each distinct image, int64, ascending."""
        return np.sort(np.unique(self.image_index, return_index=True)[1]).astype(np.int64)

    def fingerprint(self) -> str:
        """SHA-256 (hexadecimal) of ids, captions, labels, splits, categories, and of vectors; not of pictures.

        Of an array of a gigabyte or more some rows stand for all.
        """
        digest = hashlib.sha256(json.dumps([self.name, self.label_kind]).encode())
        labels = [self.label_names[label] for label in self.labels]
        columns = (self.image_ids, self.captions, labels, self.splits.tolist(), self.categories)
        for entries in zip(*columns, strict=True):
            digest.update(json.dumps(entries).encode())
        for array, rows in ((self.features, self.image_index), (self.text_features, self.text_index)):
            if array is not None and rows is not None:
                rows = rows if array.nbytes < _LARGE else rows[:: max(1, len(rows) // _SAMPLE)]
                block = max(1, _BLOCK_BYTES // (array.nbytes // max(1, len(array)) or 1))
                for start in range(0, len(rows), block):
                    # In float32, as versions that held all vectors so have recorded it.
                    digest.update(array[rows[start : start + block]].astype(np.float32).tobytes())
        return digest.hexdigest()

    def image_stamp(self) -> object:
        """What tells the pictures of one data set from those of another with the same rows: files and their times."""
        if self.image_paths is None:
            digest = hashlib.sha256()
            for row in self.distinct_images() if self.encoded is not None else ():
                digest.update(hashlib.sha256(self.read_bytes(row)).digest())
            return digest.hexdigest()
        paths = [os.path.abspath(self.image_paths[row]) for row in self.distinct_images()]
        return [(path, os.stat(path).st_mtime_ns if os.path.exists(path) else 0) for path in paths]

    def read_image(self, index: Any) -> Any:
        """Reads the encoded bytes of a row's image, in graph: int64 scalar -> string scalar.

        Raises:
            tf.errors.OpError: when run, if the image cannot be read.
            UserError: the table holds features, not images.
        """
        import tensorflow as tf

        if self.image_paths is not None:
            return tf.io.read_file(tf.gather(self._path_tensor, index))
        if self.encoded is None:
            raise UserError(f"The data set {self.name} holds feature vectors, not images that could be read.")
        # Pure, and declared so: one stateful op would cost a deterministic pipeline all of its parallelism.
        data = tf.numpy_function(self.read_bytes, [index], tf.string, stateful=False)
        return tf.ensure_shape(data, ())

    def read_bytes(self, row: int) -> bytes:
        """The encoded bytes of a row's image, outside any graph. Raises OSError where they cannot be read."""
        if self.image_paths is not None:
            with open(self.image_paths[row], "rb") as file:
                return file.read()
        if self.encoded is None:
            raise UserError(f"The data set {self.name} holds feature vectors, not images that could be read.")
        return self.encoded[int(self.image_index[row])]

    @functools.cached_property
    def _path_tensor(self) -> Any:
        import tensorflow as tf

        with tf.init_scope():  # otherwise the first graph that reads would own (and embed) all the paths
            return tf.constant(self.image_paths, tf.string)
