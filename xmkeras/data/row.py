"""One row of a data set, and the checker that explains what is wrong with a bad one."""

from __future__ import annotations

import dataclasses
import os
from typing import Literal

import numpy as np

SPLITS = ("train", "validation", "test")
LabelKind = Literal["class", "identity", "image"]


@dataclasses.dataclass(frozen=True, slots=True)
class Row:
    """One image with its captions.

    Attributes:
        image: path of an encoded image file, the encoded bytes, or a feature array of one shape.
        captions: at least one, none blank; may be missing in a table of images alone.
        label: class or identity; rows of a table labelled by image may leave any value here.
        image_id: names the image; rows that share it share the image, its label and its split.
        split: one of `SPLITS`.
        category: a coarser group shown in reports only.
    """

    image: str | bytes | np.ndarray
    captions: tuple[str, ...]
    label: int | str
    image_id: str
    split: str
    category: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class BadRow:
    """Why a row cannot be used: where it is, what is wrong, and what was expected instead."""

    place: str
    fault: str
    expected: str

    def __str__(self) -> str:
        return f"{self.place}: {self.fault}; expected {self.expected}."


def check_row(row: Row, place: str, *, check_image: bool = True, captions: bool = True) -> BadRow | None:
    """The first fault of `row`, or None when it is sound.

    Args:
        row: to check.
        place: where it stands, for the message.
        check_image: look for the image's file too.
        captions: there has to be one.
    """
    if not row.image_id:
        return BadRow(place, "the image id is empty", "a name that tells the image from all others")
    words = [row.image_id, *row.captions, row.label, row.category, *([row.image] if isinstance(row.image, str) else [])]
    if odd := next((text for text in words if isinstance(text, str) and not _is_text(text)), None):
        return BadRow(place, f"{odd!r} is no text that can be written", "text without NUL and half characters")
    if row.split not in SPLITS:
        return BadRow(place, f"unknown split {row.split!r}", "one of " + ", ".join(SPLITS))
    if captions and not row.captions:
        return BadRow(place, "no caption", "at least one caption")
    if not all(isinstance(caption, str) and caption.strip() for caption in row.captions):
        return BadRow(place, "an empty caption", "text in every caption")
    if not isinstance(row.label, (int, str, np.integer)):
        return BadRow(place, f"a label of type {type(row.label).__name__}", "a whole number or a name")
    return _check_image(row.image, place) if check_image else None


def _is_text(text: str) -> bool:
    """Whether it can be written as UTF-8 and handed to the system; lone halves of characters and NUL cannot."""
    try:
        return b"\0" not in text.encode()
    except UnicodeEncodeError:
        return False


def _check_image(image: str | bytes | np.ndarray, place: str) -> BadRow | None:
    if isinstance(image, np.ndarray):
        if image.size and np.isfinite(image).all():
            return None
        return BadRow(place, "an empty feature array, or one with a NaN or infinite value", "finite features")
    if isinstance(image, bytes):
        return None if image else BadRow(place, "the image has no bytes", "an encoded image")
    try:
        size = os.stat(image).st_size if os.path.isfile(image) else -1
    except (OSError, ValueError):
        size = -1
    if size < 0:
        return BadRow(place, f"no such image file {image!r}", "a PNG, JPEG, WebP, GIF or BMP file")
    return None if size else BadRow(place, f"the image file {image!r} is empty", "an encoded image")
