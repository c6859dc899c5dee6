"""Cars-196, photographs of 196 models of cars, without captions, as the papers of deep metric learning split it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

from xmkeras.data.published import incomplete
from xmkeras.data.rows import Row, RowTable
from xmkeras.data.splits import unseen_splits
from xmkeras.errors import UserError

if TYPE_CHECKING:
    from xmkeras.data.sources import SourceOptions

PAGE = "https://ai.stanford.edu/~jkrause/cars/car_dataset.html"
_LISTING = "cars_annos.mat"
_CLASSES, _TRAINED = 196, 98


def load(options: SourceOptions) -> RowTable:
    """One row an image, labelled by its model; splits have different classes.

    Trained are classes 1 to 98, of which the validation share is held out, and tested 99 to 196. Under
    `data_dir/cars196` it expects `car_ims/*.jpg` and `cars_annos.mat`, which names all 16,185 images.

    Raises:
        UserError: something is missing; the message says what, where from, and where it goes.
    """
    folder = os.path.join(options.root, "cars196")
    images = options.image_root or folder
    listing = os.path.join(folder, _LISTING)
    missing = [] if os.path.isfile(listing) else [f"the list {_LISTING} (of {PAGE})"]
    if options.check_images and not os.path.isdir(os.path.join(images, "car_ims")):
        missing.insert(0, f"the images car_ims/*.jpg (car_ims.tgz of {PAGE})")
    if missing:
        raise incomplete("cars196", missing, folder)
    rows = _rows(images, listing, options.validation_share)
    return RowTable.from_rows(
        "cars196", rows, label_kind="class", check_images=options.check_images, captions=False
    )


def _rows(images: str, listing: str, validation_share: float) -> Iterator[Row]:
    names = [f"{number:03d}" for number in range(1, _CLASSES + 1)]
    splits = unseen_splits(names[:_TRAINED], names[_TRAINED:], validation_share)
    for path, number in _listed(listing):
        if not 1 <= number <= _CLASSES:
            raise UserError(f"{listing} has the class {number} of {path}; expected 1 to {_CLASSES}.")
        name = names[number - 1]
        image_id = os.path.splitext(os.path.basename(path))[0]
        yield Row(os.path.join(images, path), (), name, image_id, splits[name])


def _listed(listing: str) -> list[tuple[str, int]]:
    """Path and class of each image."""
    import scipy.io

    try:
        records = scipy.io.loadmat(listing)["annotations"].ravel()
        return [(str(one["relative_im_path"].item()), int(one["class"].item())) for one in records]
    except Exception as error:  # the reader of the format raises errors of many kinds
        raise UserError(f"{listing} cannot be read as the list of Cars-196 ({error}); fetch it from {PAGE}.") from error
