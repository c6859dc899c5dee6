"""Reads every image of a data set and tells the broken ones, and those that lie in two splits in all but name."""

from __future__ import annotations

import concurrent.futures
import functools
import io
import itertools
import os
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import tensorflow as tf
from PIL import Image

from xmkeras.bars import progress
from xmkeras.data import pipeline
from xmkeras.data.rows import BadRow, RowTable
from xmkeras.errors import UserError

Decode = Callable[[tf.Tensor], Any]
_READERS = 4
_NEAR, _HASHES = 4, 1024


def broken_images(table: RowTable, decode_image: Decode) -> Iterator[BadRow]:
    """Reads and decodes each distinct image once, some at a time, and yields what is wrong with broken ones.

    Args:
        table: its images, or features, which must be finite numbers.
        decode_image: encoded bytes, a string scalar -> pixels; raises a TensorFlow error on a broken image.
    """
    check = _feature_check(table) if table.features is not None else _image_check(table, decode_image)
    rows = table.distinct_images().tolist()
    with concurrent.futures.ThreadPoolExecutor(_READERS) as readers:
        faults = progress(readers.map(check, rows), len(rows), f"reading {table.name}")
        for row, fault in zip(rows, faults, strict=True):
            if fault:
                yield BadRow(
                    _place(table, row), fault, "a PNG, JPEG, WebP, GIF or BMP file that can be decoded"
                )


def _image_check(table: RowTable, decode_image: Decode) -> Callable[[int], str]:
    size = _size_graph(decode_image)

    def check(row: int) -> str:
        if _is_pipe(table, row):
            return "it is no regular file"
        try:
            return "" if int(size(tf.constant(table.read_bytes(row)))) else "an image without pixels"
        except OSError as error:
            return error.strerror or str(error)
        except tf.errors.OpError as error:
            return pipeline.fault_of(error.message)

    return check


@functools.cache
def _size_graph(decode_image: Decode) -> Callable[[tf.Tensor], tf.Tensor]:
    return tf.function(
        lambda data: tf.size(decode_image(data)),
        input_signature=[tf.TensorSpec((), tf.string)],
        autograph=False,
    )


def _feature_check(table: RowTable) -> Callable[[int], str]:
    features = table.features
    assert features is not None

    def check(row: int) -> str:
        return "" if np.isfinite(features[table.image_index[row]]).all() else "a NaN or infinite feature"

    return check


def _is_pipe(table: RowTable, row: int) -> bool:
    """Whether reading the image would wait for another process."""
    path = None if table.image_paths is None else table.image_paths[row]
    return path is not None and os.path.exists(path) and not os.path.isfile(path)


def _place(table: RowTable, row: int) -> str:
    path = "" if table.image_paths is None else f" ({table.image_paths[row]})"
    return f"{table.splits[row]} image {table.image_ids[row]!r}{path}"


def near_duplicates(table: RowTable, most: int = _NEAR) -> Iterator[str]:
    """A sentence for each image that looks like one of another split, by the perceptual hash of both.

    Args:
        table: of images; broken ones are passed over.
        most: differing bits, of 64, of two hashes that are still taken for one picture.

    Raises:
        UserError: the package that hashes is not installed, or the table holds feature vectors.
    """
    try:
        import imagehash
    except ImportError as error:
        raise UserError("--near_duplicates needs a package: pip install 'xmkeras[verify]'.") from error
    rows, bits = _hashes(table, imagehash.phash)
    splits = table.splits[rows]
    for first, second in itertools.combinations(table.split_names, 2):
        here, there = np.flatnonzero(splits == first), np.flatnonzero(splits == second)
        for start in range(0, len(here), _HASHES):
            block = here[start : start + _HASHES]
            # Bits as -1 and 1: their product counts equal bits less differing ones.
            differing = (bits.shape[1] - bits[block] @ bits[there].T) / 2
            for one, other in np.argwhere(differing <= most):
                yield (
                    f"{_place(table, rows[block[one]])} looks like {_place(table, rows[there[other]])} "
                    f"({differing[one, other]:.0f} of {bits.shape[1]} bits differ)."
                )


def _hashes(table: RowTable, perceptual_hash: Callable[[Image.Image], Any]) -> tuple[np.ndarray, np.ndarray]:
    """Rows of the images that can be read (n,), and the bits of their hashes as -1 and 1, float32 (n, b)."""

    def bits(row: int) -> np.ndarray | None:
        if _is_pipe(table, row):
            return None
        try:
            with Image.open(io.BytesIO(table.read_bytes(row))) as image:
                return np.where(perceptual_hash(image.convert("RGB")).hash.ravel(), 1.0, -1.0).astype(np.float32)
        except (OSError, ValueError, Image.DecompressionBombError):
            return None

    rows = table.distinct_images().tolist()
    with concurrent.futures.ThreadPoolExecutor(_READERS) as readers:
        known = {row: one for row, one in zip(rows, readers.map(bits, rows), strict=True) if one is not None}
    return np.array(list(known), np.int64), np.stack([*known.values()]) if known else np.empty((0, 64), np.float32)
