"""Writes bottom-up-attention features, .tsv files of base64 fields, in the layout that the region sources read.

python -m tools.convert_regions --captions=dataset_coco.json --tsv=trainval.tsv --output=data/coco_precomp
"""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import pathlib
import re
import sys
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from xmkeras import flags
from xmkeras.bars import progress
from xmkeras.data.karpathy import read_rows
from xmkeras.errors import UserError
from xmkeras.files import explained, new_array, write_atomically
from xmkeras.options import Options, option

FIELDS = ("image_id", "image_w", "image_h", "num_boxes", "boxes", "features")
# Files of the releases: COCO's whole test split is called testall there.
_FILES = {"train": "train", "validation": "dev", "test": "test"}
_CAPTIONS = 5


@dataclasses.dataclass(frozen=True)
class ConvertOptions(Options):
    """The flags of this command."""

    tsv: tuple[str, ...] = option((), "file of image_id, image_w, image_h, num_boxes, boxes, features; repeatable")
    captions: str = option("", "Karpathy's dataset_NAME.json: its images and splits are written, five captions each")
    output: str = option("", "folder to write to")
    test: str = option("test", "what the test split is called; COCO's 5,000 images are testall in the releases")


class Item(NamedTuple):
    """One line: the id of an image, its size (width, height), boxes (n, 4) in pixels, and features (n, d)."""

    image_id: str
    size: tuple[int, int]
    boxes: np.ndarray
    features: np.ndarray


def main(argv: Sequence[str]) -> int:
    """Converts what the flags name; returns the exit status."""
    options = flags.parse_options(argv, ConvertOptions)
    for name in ("tsv", "captions", "output"):
        if not getattr(options, name):
            raise UserError(f"Give --{name}: {ConvertOptions.__dataclass_fields__[name].metadata['help']}.")
    folder = pathlib.Path(options.output)
    splits = read_splits(options.captions, options.test)
    convert(options.tsv, {split: list(images) for split, images in splits.items()}, folder)
    for split, images in splits.items():
        lines = [" ".join(caption.split()) for captions in images.values() for caption in captions]
        write_atomically(folder / f"{split}_caps.txt", "".join(f"{line}\n" for line in lines))
    print(f"{folder}: " + ", ".join(f"{len(images)} images of {split}" for split, images in splits.items()))
    return 0


def read_splits(path: str, test: str = "test") -> dict[str, dict[str, list[str]]]:
    """The first five captions of each image id of each split, by the name of its files.

    An id is the number that the name of the image's file ends in, as the .tsv files have it, else that name.

    Raises:
        UserError: the file cannot be read, or an image has fewer captions.
    """
    splits: dict[str, dict[str, list[str]]] = {}
    for row in read_rows(path):
        if len(row.captions) < _CAPTIONS:
            raise UserError(f"{path}: the image {row.image_id!r} has {len(row.captions)} captions, not {_CAPTIONS}.")
        file = test if row.split == "test" else _FILES[row.split]
        splits.setdefault(file, {})[_number(row.image_id)] = list(row.captions[:_CAPTIONS])
    return splits


def _number(name: str) -> str:
    """COCO_val2014_000000391895 -> 391895, 1000092795 -> itself, and so any name without a number at its end."""
    found = re.search(r"(?:^|_)0*(\d+)$", name)
    return found[1] if found else name


def convert(paths: Sequence[str], splits: dict[str, list[str]], folder: pathlib.Path) -> None:
    """Writes `_ims.npy`, `_boxes.npy`, `_img_sizes.npy` and `_ids.txt` of each split, holding one image at a time.

    Args:
        paths: the .tsv files; of an image that is there twice the first line counts.
        splits: the image ids of each split, in the order in which they are written.
        folder: that they are written to.

    Raises:
        UserError: a line is damaged, an image is missing, or has other regions than the first, or the disk is full.
    """
    shape = next(items(paths)).features.shape  # of the first image; all others have to have it
    place = {name: (split, row) for split, ids in splits.items() for row, name in enumerate(ids)}
    with _Arrays(folder, {split: len(ids) for split, ids in splits.items()}, shape) as arrays:
        for item in progress(items(paths), len(place), "converting"):
            if (found := place.pop(item.image_id, None)) is not None:
                arrays.put(*found, item)
        if place:
            raise UserError(
                f"{len(place)} images are in none of {', '.join(paths)}, the first of them {next(iter(place))!r}; give "
                "every --tsv of the set."
            )
    for split, ids in splits.items():
        write_atomically(folder / f"{split}_ids.txt", "".join(f"{name}\n" for name in ids))


def items(paths: Sequence[str]) -> Iterator[Item]:
    """The images of .tsv files, one by one.

    Raises:
        UserError: there is no such file, it holds nothing, or a line is damaged.
    """
    number = 0
    for path in paths:
        try:
            with open(path, encoding="ascii", newline="\n") as file:
                for number, line in enumerate(file, start=1):
                    yield _item(line.rstrip("\r\n").split("\t"), f"{path} line {number}")
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"{path} cannot be read as a .tsv of features ({error}).") from error
    if not number:
        raise UserError(f"{', '.join(paths)} holds no image.")


def _item(fields: list[str], place: str) -> Item:
    try:
        image_id, width, height, count, boxes, features = fields
        regions = int(count)
        corners = np.frombuffer(base64.b64decode(boxes, validate=True), np.float32).reshape(regions, 4)
        vectors = np.frombuffer(base64.b64decode(features, validate=True), np.float32).reshape(regions, -1)
        return Item(_number(image_id), (int(width), int(height)), corners, vectors)
    except ValueError as error:
        raise UserError(f"{place} is damaged ({error}); expected the fields {', '.join(FIELDS)} with tabs.") from error


class _Arrays:
    """The arrays of all splits on disk, which are put in place once all images are there."""

    def __init__(self, folder: pathlib.Path, sizes: dict[str, int], shape: tuple[int, ...]):
        self._folder, self._sizes, self._shape = folder, sizes, shape
        self._stack = contextlib.ExitStack()
        self._arrays: dict[str, list[np.memmap]] = {}

    def __enter__(self) -> _Arrays:
        with contextlib.ExitStack() as stack:
            stack.enter_context(explained(self._folder))
            tails = {"ims": self._shape, "boxes": (self._shape[0], 4), "img_sizes": (2,)}
            for split, images in self._sizes.items():
                files = {self._folder / f"{split}_{name}.npy": (images, *tail) for name, tail in tails.items()}
                self._arrays[split] = [stack.enter_context(new_array(file, shape)) for file, shape in files.items()]
            self._stack = stack.pop_all()
        return self

    def put(self, split: str, row: int, item: Item) -> None:
        """Writes an image; UserError where it has other numbers of regions than the first."""
        if item.features.shape != self._shape:
            raise UserError(
                f"The image {item.image_id!r} has regions of shape {item.features.shape}, others {self._shape}; "
                "extract the same number of each image, 36 in the releases."
            )
        for array, value in zip(self._arrays[split], (item.features, item.boxes, item.size), strict=True):
            array[row] = value

    def __exit__(self, *error: Any) -> bool | None:
        return self._stack.__exit__(*error)


if __name__ == "__main__":
    sys.exit(flags.main_guard(main))
