"""Twenty small pictures, two of them broken, and what tests of the pipelines need beside them."""

import itertools
import pathlib
from typing import Any

import numpy as np

from tests.data import samples
from xmkeras.data import images
from xmkeras.data.rows import Row
from xmkeras.data.text import Tokenizer

SIZE = (12, 16)
EVERYTHING = images.parse_augmentation("flip,crop,colour_jitter")
TOKENIZER = Tokenizer(["a", "an", "image", "picture"])
COUNT = 20
BROKEN = (6, 7)

Batch = dict[str, np.ndarray]


def encoded(number: int) -> bytes:
    picture = np.random.default_rng(number).integers(0, 256, (20, 24, 3), dtype=np.uint8)
    data = samples.encode(picture, "JPEG" if number % 2 else "PNG")
    return data[: len(data) // 3] if number in BROKEN else data


def rows(folder: pathlib.Path | None) -> list[Row]:
    made = []
    for number in range(COUNT):
        image: str | bytes = encoded(number)
        if folder is not None:
            (folder / f"{number:02}.img").write_bytes(image)
            image = str(folder / f"{number:02}.img")
        captions = (f"a picture {number}", f"an image {number}")[: 1 + number % 2]
        made.append(Row(image, captions, number // 2, f"image {number}", "train"))
    return made


def take(made: Any, count: int) -> list[Batch]:
    return [{name: value.numpy() for name, value in batch.items()} for batch in itertools.islice(made, count)]


def assert_equal(ones: list[Batch], others: list[Batch]) -> None:
    assert len(ones) == len(others)
    for one, other in zip(ones, others, strict=True):
        assert one.keys() == other.keys()
        for name in one:
            np.testing.assert_array_equal(one[name], other[name], err_msg=name)
