"""Oxford-102 Flowers in the published layout, with Reed's ten captions an image or without captions."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

from xmkeras.data import reed_captions
from xmkeras.data.array_files import read_matrix
from xmkeras.data.published import Published, extract_images, fetch_archive, incomplete, prepared_folder
from xmkeras.data.rows import Row, RowTable
from xmkeras.data.splits import unseen_splits
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
_LABELS = "imagelabels.mat"
_CLASSES, _TRAINED = 102, 51


def load(options: SourceOptions) -> RowTable:
    """One row an image, labelled by class; splits have different classes.

    Under `data_dir/flowers`, or `data_dir/oxford_flowers`, it expects `jpg/image_*.jpg` (or takes them from
    tensorflow-datasets' oxford_flowers102, if that is prepared), and
    with captions (62/20/20 classes) `text_c10/class_*/image_*.txt` with a caption a line and the lists
    `trainclasses.txt`, `valclasses.txt`, `testclasses.txt`; `trainvalclasses.txt` stands for the first two;
    without captions `imagelabels.mat`: classes 1 to 51, of which the validation share is held out, and 52 to 102.
    These are 8,189 images; paper 002 counts 6,552 of them.

    Raises:
        UserError: something is missing; the message says what, where from, and where it goes.
    """
    folder = _folder(options.root)
    images = options.image_root or os.path.join(folder, "jpg")
    if not os.path.isdir(images):
        _take_prepared(options.root, images)
    captions = reed_captions.captions_folder(folder, "cvpr2016_flowers")
    labels = os.path.join(os.path.dirname(os.path.abspath(images)), _LABELS)
    if options.captions:
        missing = reed_captions.missing_captions(captions, "class_*/image_*.txt")
    else:
        missing = [] if os.path.isfile(labels) else [f"the labels {_LABELS} (from {IMAGES_PAGE})"]
    if options.check_images and not os.path.isdir(images):
        missing.insert(0, f"the images jpg/image_*.jpg (102flowers.tgz from {IMAGES_PAGE})")
    if missing:
        raise incomplete("flowers", missing, folder)
    rows = _rows(images, captions) if options.captions else _rows_alone(images, labels, options.validation_share)
    return RowTable.from_rows(
        "flowers", rows, label_kind="class", check_images=options.check_images, captions=options.captions
    )


def download(options: SourceOptions) -> None:
    """Fetches and checks the images (345 MB); the captions lie where no program can fetch them.

    Raises:
        UserError: there is no network, or the file is not the published one.
    """
    fetch_archive(_ARCHIVE, "jpg", os.path.join(_folder(options.root), "jpg"))


def _folder(root: str) -> str:
    folders = [os.path.join(root, name) for name in ("flowers", "oxford_flowers")]
    return next((folder for folder in folders if os.path.isdir(folder)), folders[0])


def _rows_alone(images: str, labels: str, validation_share: float) -> Iterator[Row]:
    """A row an image, in the order of `imagelabels.mat`."""
    names = [f"class_{number:05d}" for number in range(1, _CLASSES + 1)]
    splits = unseen_splits(names[:_TRAINED], names[_TRAINED:], validation_share)
    for number, label in enumerate(read_matrix(labels, "labels").ravel(), start=1):
        if not 1 <= label <= _CLASSES:
            raise UserError(f"{labels} has the label {label} of image {number}; expected 1 to {_CLASSES}.")
        image_id, name = f"image_{number:05d}", names[int(label) - 1]
        yield Row(os.path.join(images, f"{image_id}.jpg"), (), name, image_id, splits[name])


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
