"""Oxford-102 Flowers with Reed's ten captions an image, in the layout in which both were published."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

from xmkeras.data import reed_captions
from xmkeras.data.published import Published, extract_images, fetch_archive, incomplete, prepared_folder
from xmkeras.data.rows import Row, RowTable
from xmkeras.errors import UserError

if TYPE_CHECKING:
    from xmkeras.data.sources import SourceOptions

IMAGES_PAGE = "https://www.robots.ox.ac.uk/~vgg/data/flowers/102/"
_ARCHIVE = Published(
    IMAGES_PAGE + "102flowers.tgz",
    "2d01ecc807db462958cfe3d92f57a8c252b4abd240eb955770201e45f783b246",
    344862509,
)
_VALIDATION_SHARE = 20 / 82  # where only the list of training and validation classes together is there


def load(options: SourceOptions) -> RowTable:
    """One row an image with its captions, labelled by class; splits have different classes (62/20/20).

    Under `data_dir/flowers` it expects `jpg/image_*.jpg` (or takes them from tensorflow-datasets'
    oxford_flowers102, if that is prepared), `text_c10/class_*/image_*.txt` with a caption a line, and the
    lists `trainclasses.txt`, `valclasses.txt`, `testclasses.txt`; `trainvalclasses.txt` stands for the first
    two.

    Raises:
        UserError: something is missing; the message says what, where from, and where it goes.
    """
    folder = os.path.join(options.root, "flowers")
    images = options.image_root or os.path.join(folder, "jpg")
    if not os.path.isdir(images):
        _take_prepared(options.root, images)
    captions = reed_captions.captions_folder(folder, "cvpr2016_flowers")
    missing = reed_captions.missing_captions(captions, "class_*/image_*.txt")
    if options.check_images and not os.path.isdir(images):
        missing.insert(0, f"the images jpg/image_*.jpg (102flowers.tgz from {IMAGES_PAGE})")
    if missing:
        raise incomplete("flowers", missing, folder)
    rows = _rows(images, captions)
    return RowTable.from_rows("flowers", rows, label_kind="class", check_images=options.check_images)


def download(options: SourceOptions) -> None:
    """Fetches and checks the images (345 MB); the captions lie where no program can fetch them.

    Raises:
        UserError: there is no network, or the file is not the published one.
    """
    fetch_archive(_ARCHIVE, "jpg", os.path.join(options.root, "flowers", "jpg"))


def _take_prepared(root: str, images: str) -> None:
    places = [root, os.environ.get("TFDS_DATA_DIR", ""), "~/tensorflow_datasets"]
    prepared = prepared_folder("oxford_flowers102", [place for place in places if place])
    if prepared:
        extract_images(prepared, images)


def _rows(images: str, captions: str) -> Iterator[Row]:
    splits = reed_captions.class_splits(captions, _VALIDATION_SHARE)
    for name in sorted(splits):
        folder = os.path.join(captions, "text_c10", name)
        if not os.path.isdir(folder):
            raise UserError(f"The flowers class {name} of the class lists has no folder {folder}.")
        for file_name in sorted(os.listdir(folder)):
            image_id, extension = os.path.splitext(file_name)
            if extension == ".txt":
                image = os.path.join(images, f"{image_id}.jpg")
                yield Row(image, reed_captions.read_captions(captions, name, image_id), name, image_id, splits[name])
