"""CUHK-PEDES: 40,206 photographs of 13,003 people with two sentences each, in the layout in which it is handed out."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

from xmkeras.data.published import incomplete
from xmkeras.data.records import read_records
from xmkeras.data.rows import Row, RowTable
from xmkeras.data.splits import split_name
from xmkeras.errors import UserError

if TYPE_CHECKING:
    from xmkeras.data.sources import SourceOptions

PAGE = "https://github.com/ShuangLI59/Person-Search-with-Natural-Language-Description"


def load(options: SourceOptions) -> RowTable:
    """One row an image with its captions, labelled by person; splits have different people (11,003/1,000/1,000).

    Under `data_dir` it expects the folder `CUHK-PEDES` with `reid_raw.json` and `imgs/`.

    Raises:
        UserError: something is missing or malformed; the message says what, where from, and where it goes.
    """
    folder = os.path.join(options.root, "CUHK-PEDES")
    images = options.image_root or os.path.join(folder, "imgs")
    path = os.path.join(folder, "reid_raw.json")
    missing = []
    if options.check_images and not os.path.isdir(images):
        missing.append("the images imgs/*/*.png and *.jpg")
    if not os.path.isfile(path):
        missing.append("the captions reid_raw.json")
    if missing:
        missing[-1] += f" (asked for by mail as {PAGE} says)"
        raise incomplete("cuhk_pedes", missing, folder)
    return RowTable.from_rows(
        "cuhk_pedes",
        _rows(path, images),
        label_kind="identity",
        place=lambda number: f"{path} item {number + 1}",
        check_images=options.check_images,
    )


def _rows(path: str, images: str) -> Iterator[Row]:
    for item, fields in read_records(path):
        try:
            file, person, split = fields["file_path"], int(fields["id"]), split_name(fields["split"])
            captions = tuple(caption.strip() for caption in fields["captions"] if caption.strip())
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise UserError(
                f"{path} item {item}: expected a file_path, the number of the person (id), a split and captions."
            ) from error
        if split is None:
            raise UserError(f"{path} item {item}: unknown split {fields['split']!r}; expected train, val or test.")
        yield Row(os.path.join(images, file), captions, person, file, split)
