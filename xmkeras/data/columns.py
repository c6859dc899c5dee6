"""From checked rows to the columns of a table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from xmkeras.data.row import SPLITS, BadRow, LabelKind, Row, check_row
from xmkeras.errors import UserError, refuse


class ColumnBuilder:
    """Collects checked rows; one column a field. See `RowTable.from_rows` for the arguments."""

    def __init__(
        self,
        label_kind: LabelKind,
        place: Callable[[int], str],
        check_images: bool,
        needs_captions: bool = True,
        fault: Callable[[str], None] = refuse,
    ):
        self.fault = fault
        self.seen = 0  # rows, those left out among them
        self.label_kind = label_kind
        self.place = place
        self.check_images = check_images
        self.needs_captions = needs_captions
        self.captions: list[tuple[str, ...]] = []
        self.labels: list[int | str] = []
        self.splits: list[str] = []
        self.categories: list[str] = []
        self.image_ids: list[str] = []
        self.image_index: list[int] = []
        self.images: list[str | bytes | np.ndarray] = []  # one a distinct image
        self.first_rows: list[int] = []  # the number of the first row of each image, and its place here
        self.first_places: list[int] = []
        self.number_of: dict[str, int] = {}

    def add(self, row: Row) -> None:
        number = self.seen
        self.seen += 1
        fault = check_row(row, self.place(number), check_image=self.check_images, captions=self.needs_captions)
        fault = fault or self._check_against_first(row, number)
        if fault:
            self.fault(str(fault))
            return
        if row.image_id not in self.number_of:
            self.number_of[row.image_id] = len(self.images)
            self.images.append(row.image)
            self.first_rows.append(number)
            self.first_places.append(len(self.captions))
        image = self.number_of[row.image_id]
        self.image_index.append(image)
        self.image_ids.append(row.image_id)
        self.captions.append(tuple(row.captions))
        self.labels.append(row.image_id if self.label_kind == "image" else row.label)
        self.splits.append(SPLITS[SPLITS.index(row.split)])
        self.categories.append(row.category)

    def _check_against_first(self, row: Row, number: int) -> BadRow | None:
        image = self.number_of.get(row.image_id)
        if image is None:
            if self.images and type(row.image) is not type(self.images[0]):
                return BadRow(
                    self.place(number), "another kind of image than before", "one kind for all rows"
                )
            return None
        first = self.first_places[image]
        if row.split != self.splits[first]:
            fault = f"image {row.image_id!r} is in split {row.split} here but in {self.splits[first]} before"
        elif isinstance(row.image, str) and row.image != self.images[image]:
            fault = f"image id {row.image_id!r} names {row.image!r} here but {self.images[image]!r} before"
        elif self.label_kind != "image" and row.label != self.labels[first]:
            fault = f"image {row.image_id!r} has label {row.label!r} here but {self.labels[first]!r} before"
        else:
            return None
        return BadRow(self.place(number), fault, f"the same as in {self.place(self.first_rows[image])}")

    def columns(self, name: str) -> dict[str, Any]:
        """The fields of a `RowTable` from `captions` on.

        Raises:
            UserError: there is no row, or features differ in shape.
        """
        if not self.captions:
            raise UserError(f"The data set {name} has no rows; give it at least one image.")
        labels, names = dense_labels(self.labels, self.splits)
        return {
            "captions": self.captions,
            "labels": labels,
            "label_names": names,
            "image_ids": self.image_ids,
            "image_index": np.asarray(self.image_index, np.int64),
            "splits": np.asarray(self.splits),
            "categories": self.categories,
            **self._image_columns(name),
        }

    def _image_columns(self, name: str) -> dict[str, Any]:
        if isinstance(self.images[0], str):
            return {"image_paths": [self.images[image] for image in self.image_index]}
        if isinstance(self.images[0], bytes):
            return {"encoded": self.images}
        return {"features": _stack(self.images, name)}


def dense_labels(labels: Sequence[int | str], splits: Sequence[str]) -> tuple[np.ndarray, list[str]]:
    """Numbers labels by the first split that has them, then by value (numbers before names).

    Returns:
        The numbers, int64 (n,), and the name of each number.
    """
    rank = {split: number for number, split in enumerate(SPLITS)}
    first: dict[int | str, int] = {}
    for label, split in zip(labels, splits, strict=True):
        first[label] = min(first.get(label, len(SPLITS)), rank[split])
    ordered = sorted(first, key=lambda label: (first[label], isinstance(label, str), label))
    numbers = {label: number for number, label in enumerate(ordered)}
    return np.asarray([numbers[label] for label in labels], np.int64), [str(label) for label in ordered]


def _stack(images: Sequence[Any], name: str) -> np.ndarray:
    shapes = sorted({image.shape for image in images})
    if len(shapes) > 1:
        raise UserError(
            f"The feature arrays of {name} differ in shape ({shapes[0]}, {shapes[1]}); make them equal."
        )
    return np.stack(images).astype(np.float32, copy=False)
