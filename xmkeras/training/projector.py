"""Embeddings for TensorBoard's projector, thumbnails included.

The files are written by hand: the Keras callback writes weights that the plugin cannot read (keras#20210).
They lie beside the run's events: `projector_config.pbtxt`, and a folder for each set of points with
`tensors.tsv`, `metadata.tsv` and `sprite.png`.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
import pathlib
import re
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import tensorflow as tf

# The side of the largest texture that browsers draw everywhere.
_MAX_SPRITE = 8192


@dataclasses.dataclass(frozen=True)
class Points:
    """A set of embeddings to look at.

    Attributes:
        name: shown in the projector's menu.
        vectors: (n, d) float.
        columns: what to know of each point, by heading: n texts each.
        thumbnail: the picture of point i, (height, width, 3) uint8; None draws dots.
    """

    name: str
    vectors: np.ndarray
    columns: Mapping[str, Sequence[str]]
    thumbnail: Callable[[int], np.ndarray] | None = None

    def at_most(self, limit: int) -> Points:
        """The same points, or `limit` of them spread evenly over all."""
        count = len(self.vectors)
        if count <= limit:
            return self
        chosen = np.linspace(0, count - 1, limit).round().astype(int)
        thumbnail = self.thumbnail
        return Points(
            self.name,
            self.vectors[chosen],
            {heading: [values[i] for i in chosen] for heading, values in self.columns.items()},
            None if thumbnail is None else lambda i: thumbnail(int(chosen[i])),
        )


def together(name: str, first: Points, second: Points) -> Points:
    """Two sets in one space, told apart by a column `kind`; a column of one set is empty for the other.

    Raises:
        ValueError: only one of them has thumbnails.
    """
    one, two = first.thumbnail, second.thumbnail
    if (one is None) != (two is None):
        raise ValueError(f"Either both of {first.name} and {second.name} have thumbnails, or neither")
    headings = dict.fromkeys([*first.columns, *second.columns])
    columns = {
        heading: [text for part in (first, second) for text in part.columns.get(heading, [""] * len(part.vectors))]
        for heading in headings
    }
    count = len(first.vectors)
    kinds = [first.name] * count + [second.name] * len(second.vectors)
    both = None if one is None or two is None else lambda i: one(i) if i < count else two(i - count)
    return Points(name, np.concatenate([first.vectors, second.vectors]), {"kind": kinds, **columns}, both)


def write_projector(
    directory: str | os.PathLike[str], sets: Sequence[Points], *, limit: int = 2000, thumbnail_size: int = 48
) -> pathlib.Path:
    """Writes sets of points where TensorBoard finds them.

    Args:
        directory: the one that holds the run's events.
        sets: what to show.
        limit: most points a set; more are thinned out evenly.
        thumbnail_size: side of a thumbnail in pixels.

    Returns:
        The plugin's configuration file.

    Raises:
        ValueError: a column has not one text a point, two sets have one name, or a vector is not finite.
    """
    directory = pathlib.Path(directory)
    if len({points.name for points in sets}) < len(sets):
        raise ValueError("Two sets of points have the same name")
    entries = [_write(directory, number, points.at_most(limit), thumbnail_size) for number, points in enumerate(sets)]
    config = directory / "projector_config.pbtxt"
    temporary = config.with_name(f".{config.name}.{os.getpid()}")
    temporary.write_text("".join(entries), encoding="utf-8")
    temporary.replace(config)
    return config


def fit(picture: np.ndarray, size: int) -> np.ndarray:
    """A picture, (height, width, 3) uint8, fitted into a white square of `size` pixels, its aspect kept."""
    scale = size / max(picture.shape[:2])
    height, width = (max(1, round(side * scale)) for side in picture.shape[:2])
    resized = tf.image.resize(picture, (height, width), antialias=True).numpy()
    square = np.full((size, size, 3), 255, np.uint8)
    top, left = (size - height) // 2, (size - width) // 2
    square[top : top + height, left : left + width] = np.clip(np.round(resized), 0, 255)
    return square


def _write(directory: pathlib.Path, number: int, points: Points, size: int) -> str:
    """Writes one set; returns its entry of the configuration."""
    count, width = points.vectors.shape
    if any(len(values) != count for values in points.columns.values()):
        raise ValueError(f"Every column of {points.name} must have {count} texts")
    if not np.isfinite(points.vectors).all():
        raise ValueError(f"A vector of {points.name} holds a number that is not finite")
    folder = directory / "projector" / f"{number}-{re.sub(r'[^A-Za-z0-9]+', '-', points.name).strip('-')}"
    folder.mkdir(parents=True, exist_ok=True)
    np.savetxt(folder / "tensors.tsv", points.vectors, fmt="%.6g", delimiter="\t")
    (folder / "metadata.tsv").write_text(_metadata(points.columns), encoding="utf-8")
    place = folder.relative_to(directory).as_posix()
    lines = [
        f"tensor_name: {_quoted(points.name)}",
        f"tensor_shape: {count}",
        f"tensor_shape: {width}",
        f"tensor_path: {_quoted(place + '/tensors.tsv')}",
        f"metadata_path: {_quoted(place + '/metadata.tsv')}",
    ]
    if points.thumbnail is not None:
        side = min(size, _MAX_SPRITE // math.ceil(math.sqrt(count)))
        (folder / "sprite.png").write_bytes(_sprite(points.thumbnail, count, side))
        lines.append(f"sprite {{ image_path: {_quoted(place + '/sprite.png')} ")
        lines.append(f"  single_image_dim: {side} single_image_dim: {side} }}")
    return "embeddings {\n" + "".join(f"  {line}\n" for line in lines) + "}\n"


def _metadata(columns: Mapping[str, Sequence[str]]) -> str:
    """Tab-separated lines. Only where there are two columns does the plugin read a heading."""
    lines = ["\t".join(columns)] if len(columns) > 1 else []
    lines += [
        "\t".join(re.sub(r"\s+", " ", str(text)).strip() or "-" for text in row)
        for row in zip(*columns.values(), strict=True)
    ]
    return "".join(f"{line}\n" for line in lines)


def _sprite(thumbnail: Callable[[int], np.ndarray], count: int, side: int) -> bytes:
    """A PNG of the thumbnails in rows, as many to a row as there are rows."""
    across = math.ceil(math.sqrt(count))
    sheet = np.full((across * side, across * side, 3), 255, np.uint8)
    for i in range(count):
        top, left = i // across * side, i % across * side
        sheet[top : top + side, left : left + side] = fit(thumbnail(i), side)
    return tf.io.encode_png(sheet).numpy()


def _quoted(text: str) -> str:
    """A string of protobuf's text format, which takes JSON's escapes."""
    return json.dumps(text, ensure_ascii=False)
