"""Oxford-102 Flowers with Reed's ten captions an image, in the layout in which both were published."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

from xmkeras.data.published import Published, extract_images, fetch_archive, prepared_folder
from xmkeras.data.rows import Row, RowTable
from xmkeras.errors import UserError

if TYPE_CHECKING:
    from xmkeras.data.sources import SourceOptions

IMAGES_PAGE = "https://www.robots.ox.ac.uk/~vgg/data/flowers/102/"
CAPTIONS_PAGE = "https://github.com/reedscot/cvpr2016"
_ARCHIVE = Published(
    IMAGES_PAGE + "102flowers.tgz",
    "2d01ecc807db462958cfe3d92f57a8c252b4abd240eb955770201e45f783b246",
    344862509,
)
_LISTS = {"train": "trainclasses.txt", "validation": "valclasses.txt", "test": "testclasses.txt"}
_BOTH = "trainvalclasses.txt"
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
    captions = next(
        (path for path in _caption_folders(folder) if os.path.isdir(os.path.join(path, "text_c10"))), folder
    )
    _require(folder, images, captions)
    rows = _rows(images, captions)
    return RowTable.from_rows("flowers", rows, label_kind="class", check_images=options.check_images)


def download(options: SourceOptions) -> None:
    """Fetches and checks the images (345 MB); the captions lie where no program can fetch them.

    Raises:
        UserError: there is no network, or the file is not the published one.
    """
    fetch_archive(_ARCHIVE, "jpg", os.path.join(options.root, "flowers", "jpg"))


def _caption_folders(folder: str) -> list[str]:
    return [folder, os.path.join(folder, "cvpr2016_flowers")]


def _take_prepared(root: str, images: str) -> None:
    places = [root, os.environ.get("TFDS_DATA_DIR", ""), "~/tensorflow_datasets"]
    prepared = prepared_folder("oxford_flowers102", [place for place in places if place])
    if prepared:
        extract_images(prepared, images)


def _require(folder: str, images: str, captions: str) -> None:
    missing = []
    if not os.path.isdir(images):
        missing.append(f"the images jpg/image_*.jpg (102flowers.tgz from {IMAGES_PAGE})")
    lists = [name for split, name in _LISTS.items() if not _has_list(captions, split)]
    wanted = [] if os.path.isdir(os.path.join(captions, "text_c10")) else ["text_c10/class_*/image_*.txt"]
    if wanted or lists:
        missing.append(
            f"the captions and class lists {', '.join(wanted + lists)} (flowers of {CAPTIONS_PAGE})"
        )
    if missing:
        raise UserError(
            f"The flowers data set is not complete: put {' and '.join(missing)} into {folder}; this command "
            "trains now on drawings that pip installs: "
            "python -m xmkeras.train --flagfile=flags/cmpm_openmoji.cfg"
        )


def _has_list(captions: str, split: str) -> bool:
    names = [_LISTS[split]] if split == "test" else [_LISTS[split], _BOTH]
    return any(os.path.isfile(os.path.join(captions, name)) for name in names)


def class_splits(folder: str) -> dict[str, str]:
    """The split of each class by the lists in `folder`.

    Where validation classes are not listed, 20 in 82 of those in `trainvalclasses.txt` are taken by hash.

    Raises:
        UserError: a list is empty, or a class is in two.
    """
    lists = {split: _read_list(os.path.join(folder, name)) for split, name in _LISTS.items()}
    if not lists["train"] or not lists["validation"]:
        both = sorted(_read_list(os.path.join(folder, _BOTH)), key=_hash)
        taken = round(len(both) * _VALIDATION_SHARE)
        lists["validation"] = lists["validation"] or [
            name for name in both[:taken] if name not in lists["train"]
        ]
        lists["train"] = [name for name in both if name not in lists["validation"]]
    splits: dict[str, str] = {}
    for split, names in lists.items():
        if not names:
            raise UserError(f"The class list of {split} in {folder} is empty; expected a class a line.")
        for name in names:
            if splits.setdefault(name, split) != split:
                raise UserError(
                    f"The class {name} is in the lists of {splits[name]} and {split} in {folder}."
                )
    return splits


def _hash(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


def _read_list(path: str) -> list[str]:
    if not os.path.isfile(path):
        return []
    with open(path, encoding="utf-8") as file:
        return [line.strip() for line in file if line.strip()]


def _rows(images: str, captions: str) -> Iterator[Row]:
    splits = class_splits(captions)
    for name in sorted(splits):
        folder = os.path.join(captions, "text_c10", name)
        if not os.path.isdir(folder):
            raise UserError(f"The flowers class {name} of the class lists has no folder {folder}.")
        for file_name in sorted(os.listdir(folder)):
            image_id, extension = os.path.splitext(file_name)
            if extension == ".txt":
                image = os.path.join(images, f"{image_id}.jpg")
                yield Row(
                    image, _read_captions(os.path.join(folder, file_name)), name, image_id, splits[name]
                )


def _read_captions(path: str) -> tuple[str, ...]:
    with open(path, encoding="utf-8", errors="replace") as file:
        return tuple(line.strip() for line in file if line.strip())
