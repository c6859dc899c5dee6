"""CUB-200-2011, 200 species of birds, as published, with Reed's ten captions an image or without captions."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

from xmkeras.data import reed_captions
from xmkeras.data.published import incomplete
from xmkeras.data.rows import Row, RowTable
from xmkeras.data.splits import unseen_splits
from xmkeras.errors import UserError

if TYPE_CHECKING:
    from xmkeras.data.sources import SourceOptions

IMAGES_PAGE = "https://www.vision.caltech.edu/datasets/cub_200_2011/"
_VALIDATION_SHARE = 50 / 150  # where only the list of training and validation classes together is there
_TRAINED = 100  # classes, of those that rank classes never seen in training


def load(options: SourceOptions) -> RowTable:
    """One row an image, labelled by class; splits have different classes.

    Under `data_dir/cub` it expects `CUB_200_2011/images/CLASS/IMAGE.jpg` with the list `CUB_200_2011/images.txt`.
    With captions (100/50/50 classes) also, there or in `cvpr2016_cub`, Reed's `text_c10/CLASS/IMAGE.txt` with a
    caption a line and the lists `trainclasses.txt`, `valclasses.txt`, `testclasses.txt`; `trainvalclasses.txt` stands
    for the first two. Without captions classes 1 to 100, of which the validation share is held out, and 101 to 200.

    Raises:
        UserError: something is missing; the message says what, where from, and where it goes.
    """
    folder = os.path.join(options.root, "cub")
    images = options.image_root or os.path.join(folder, "CUB_200_2011", "images")
    listing = os.path.join(os.path.dirname(os.path.abspath(images)), "images.txt")
    captions = reed_captions.captions_folder(folder, "cvpr2016_cub")
    missing = reed_captions.missing_captions(captions, "*/*.txt") if options.captions else []
    if not os.path.isfile(listing) or (options.check_images and not os.path.isdir(images)):
        files = "CUB_200_2011/images and CUB_200_2011/images.txt"
        missing.insert(0, f"the images {files} (CUB_200_2011.tgz from {IMAGES_PAGE})")
    if missing:
        raise incomplete("cub", missing, folder)
    rows = _rows(images, listing, captions)
    if not options.captions:
        rows = _rows_alone(images, listing, options.validation_share)
    return RowTable.from_rows(
        "cub", rows, label_kind="class", check_images=options.check_images, captions=options.captions
    )


def _rows_alone(images: str, listing: str, validation_share: float) -> Iterator[Row]:
    listed = list(_listed(listing))
    names = sorted({class_name for class_name, _ in listed})
    trained = [name for name in names if _number(name, listing) <= _TRAINED]
    splits = unseen_splits(trained, set(names) - set(trained), validation_share)
    for name, file_name in listed:
        yield Row(os.path.join(images, name, file_name), (), name, os.path.splitext(file_name)[0], splits[name])


def _number(class_name: str, listing: str) -> int:
    number = class_name.partition(".")[0]
    if not number.isdigit():
        raise UserError(f"{listing} has the class {class_name!r}; expected NUMBER.NAME.")
    return int(number)


def _rows(images: str, listing: str, captions: str) -> Iterator[Row]:
    splits = reed_captions.class_splits(captions, _VALIDATION_SHARE)
    without = set(splits)
    for class_name, file_name in _listed(listing):
        if class_name in splits:
            without.discard(class_name)
            image_id = os.path.splitext(file_name)[0]
            sentences = reed_captions.read_captions(captions, class_name, image_id)
            yield Row(
                os.path.join(images, class_name, file_name), sentences, class_name, image_id, splits[class_name]
            )
    if without:
        raise UserError(f"The cub class {min(without)} of the class lists has no image in {listing}.")


def _listed(listing: str) -> Iterator[tuple[str, str]]:
    """Class and file name of each line `NUMBER CLASS/FILE`."""
    with open(listing, encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            class_name, slash, file_name = line.strip().partition(" ")[2].partition("/")
            if not slash:
                raise UserError(f"{listing} line {number}: expected a number, a space and CLASS/FILE.jpg.")
            yield class_name, file_name
