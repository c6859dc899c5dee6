"""Stanford Online Products: photographs of things for sale, a class a product, without captions, as published."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from xmkeras.data.published import incomplete
from xmkeras.data.rows import Row, RowTable
from xmkeras.data.splits import unseen_splits
from xmkeras.errors import UserError

if TYPE_CHECKING:
    from xmkeras.data.sources import SourceOptions

PAGE = "https://cvgl.stanford.edu/projects/lifted_struct/"
_LISTS = ("Ebay_train.txt", "Ebay_test.txt")


class _Listed(NamedTuple):
    label: str
    category: str
    path: str


def load(options: SourceOptions) -> RowTable:
    """One row an image, labelled by its product; splits have different products (11,318 and 11,316).

    Under `data_dir/Stanford_Online_Products` it expects the lists `Ebay_train.txt` and `Ebay_test.txt`, with the lines
    `IMAGE_NUMBER CLASS CATEGORY_NUMBER FOLDER/FILE.JPG` below a heading, and the folders that they name. The
    validation share of the training products is held out.

    Raises:
        UserError: something is missing; the message says what, where from, and where it goes.
    """
    folder = os.path.join(options.root, "Stanford_Online_Products")
    absent = [name for name in _LISTS if not os.path.isfile(os.path.join(folder, name))]
    if absent:
        missing = f"{' and '.join(absent)} with the folders *_final (Stanford_Online_Products.zip of {PAGE})"
        raise incomplete("online_products", [missing], folder)
    rows = _rows(options.image_root or folder, folder, options.validation_share)
    return RowTable.from_rows(
        "online_products", rows, label_kind="class", check_images=options.check_images, captions=False
    )


def _rows(images: str, folder: str, validation_share: float) -> Iterator[Row]:
    listed = [list(_read(os.path.join(folder, name))) for name in _LISTS]
    trained, tested = (dict.fromkeys(one.label for one in part) for part in listed)
    splits = unseen_splits(list(trained), tested, validation_share)
    for part in listed:
        for one in part:
            image_id = os.path.splitext(os.path.basename(one.path))[0]
            place = os.path.join(images, *one.path.split("/"))
            yield Row(place, (), one.label, image_id, splits[one.label], one.category)


def _read(path: str) -> Iterator[_Listed]:
    with open(path, encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            words = line.split()
            if number == 1 and words[:1] == ["image_id"]:
                continue
            if len(words) != 4 or "/" not in words[3]:
                raise UserError(f"{path} line {number}: expected an image number, a class, a category and FOLDER/FILE.")
            yield _Listed(words[1], words[3].partition("/")[0].removesuffix("_final"), words[3])
