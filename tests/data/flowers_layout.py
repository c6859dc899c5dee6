"""Writes a small set in the published layout of Oxford-102 Flowers with Reed's captions."""

from __future__ import annotations

import pathlib

import numpy as np
import tensorflow as tf

COLOURS = {
    "red": (200, 30, 40),
    "yellow": (230, 210, 40),
    "blue": (50, 70, 200),
    "white": (235, 235, 235),
    "pink": (240, 130, 180),
    "purple": (120, 50, 160),
    "orange": (240, 140, 30),
}
SPLITS = {"train": 4, "val": 2, "test": 2}


def write_flowers(
    data_dir: pathlib.Path,
    *,
    classes: dict[str, int] | None = None,
    images_per_class: int = 4,
    captions_per_image: int = 10,
    size: int = 40,
) -> pathlib.Path:
    """Writes `data_dir/flowers`: JPEG images, captions and class lists; returns that folder.

    Args:
        data_dir: what goes into --data_dir.
        classes: number of classes in the lists of "train", "val" and "test".
        images_per_class: images of each class.
        captions_per_image: lines of each caption file.
        size: side of the images in pixels; they are a blot of the class's colour on green.
    """
    folder = data_dir / "flowers"
    (folder / "jpg").mkdir(parents=True)
    class_number = image_number = 0
    for split, count in (classes or SPLITS).items():
        names = []
        for _ in range(count):
            class_number += 1
            names.append(f"class_{class_number:05d}")
            texts = folder / "text_c10" / names[-1]
            texts.mkdir(parents=True)
            for _ in range(images_per_class):
                image_number += 1
                name = f"image_{image_number:05d}"
                colour = list(COLOURS)[class_number % len(COLOURS)]
                write_flower(folder / "jpg" / f"{name}.jpg", colour, image_number, size)
                (texts / f"{name}.txt").write_text(
                    "".join(captions(colour, class_number, captions_per_image))
                )
        (folder / f"{split}classes.txt").write_text("".join(f"{name}\n" for name in names))
    return folder


def captions(colour: str, class_number: int, count: int) -> list[str]:
    """Caption lines of one image: its colour, and a number of petals that belongs to its class."""
    petals = ("three", "four", "five", "six", "seven", "many")[class_number % 6]
    forms = (
        f"this flower has {petals} {colour} petals\n",
        f"a {colour} flower with {petals} petals , on a green stem .\n",
        f"the petals of the flower are {colour} in color\n",
    )
    return [forms[number % len(forms)] for number in range(count)]


def write_flower(path: pathlib.Path, colour: str, seed: int, size: int) -> None:
    """Writes a JPEG of a disc of the colour, a little moved and noisy by `seed`."""
    random = np.random.default_rng(seed)
    rows, columns = np.mgrid[:size, :size]
    centre = size / 2 + random.uniform(-size / 8, size / 8, 2)
    inside = np.hypot(rows - centre[0], columns - centre[1]) < size * random.uniform(0.25, 0.4)
    pixels = np.where(inside[..., None], COLOURS[colour], (40, 120, 50)) + random.normal(
        0, 6, (size, size, 3)
    )
    path.write_bytes(tf.io.encode_jpeg(np.clip(pixels, 0, 255).astype(np.uint8)).numpy())
