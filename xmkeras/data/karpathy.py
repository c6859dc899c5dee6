"""Karpathy's caption files, `dataset_NAME.json`: images with their sentences and splits, one class an image."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from xmkeras.data.published import incomplete
from xmkeras.data.rows import Row, RowTable
from xmkeras.data.splits import split_name
from xmkeras.errors import UserError

if TYPE_CHECKING:
    from xmkeras.data.sources import SourceOptions

PAGE = "https://cs.stanford.edu/people/karpathy/deepimagesent/"


def load_karpathy(name: str, options: SourceOptions, *, images: tuple[str, ...], archive: str) -> RowTable:
    """One row an image with its sentences as they were written (`raw`), labelled by image.

    Under `data_dir/NAME` it expects `dataset_NAME.json` and the folders of images. A file lies in the folder that
    its `filepath` names, as in COCO, else in the only one of `images`. "restval" is training.

    Args:
        name: of the data set.
        options: `image_root` is the folder that `filepath` starts from, or that holds the files where there is none.
        images: folders of images.
        archive: where the images come from.

    Raises:
        UserError: something is missing or malformed; the message says what, and where from.
    """
    folder = os.path.join(options.root, name)
    path = os.path.join(folder, f"dataset_{name}.json")
    missing = []
    asked = options.check_images and not options.image_root
    if asked and not all(os.path.isdir(os.path.join(folder, one)) for one in images):
        missing.append(f"the images {' and '.join(f'{one}/*.jpg' for one in images)} ({archive})")
    if not os.path.isfile(path):
        missing.append(f"the captions dataset_{name}.json (caption_datasets.zip of {PAGE})")
    if missing:
        raise incomplete(name, missing, folder)
    root = options.image_root or (os.path.join(folder, images[0]) if len(images) == 1 else folder)
    return RowTable.from_rows(
        name,
        read_rows(path, root),
        label_kind="image",
        place=lambda number: f"{path} image {number + 1}",
        check_images=options.check_images,
    )


def read_rows(path: str, root: str = "") -> Iterator[Row]:
    """The images of a caption file in its order, whose files lie below `root`; UserError where one is malformed."""
    for number, image in enumerate(_images(path), start=1):
        try:
            file_name, split = image["filename"], split_name(image["split"])
            sentences = tuple(sentence["raw"].strip() for sentence in image["sentences"])
            file = os.path.join(root, image.get("filepath", ""), file_name)
        except (KeyError, TypeError, AttributeError) as error:
            raise UserError(
                f"{path} image {number}: expected a filename, a split and sentences with their raw text."
            ) from error
        if split is None:
            raise UserError(f"{path} image {number}: unknown split {image['split']!r}; expected train, val or test.")
        yield Row(file, tuple(filter(None, sentences)), number, os.path.splitext(file_name)[0], split)


def _images(path: str) -> list[Any]:
    try:
        with open(path, encoding="utf-8") as file:
            document = json.load(file)
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read as JSON ({error}).") from error
    if not isinstance(document, dict) or not isinstance(document.get("images"), list):
        raise UserError(f'{path} has no list "images"; expected the file of {PAGE}.')
    return document["images"]
