"""Reads every row of a data set and reports the broken ones.

python -m tools.verify_data --flagfile=flags/cmpm_openmoji.cfg
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import functools
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from xmkeras import flags
from xmkeras.data.bars import progress
from xmkeras.data.decoding import decode
from xmkeras.data.rows import BadRow, RowTable
from xmkeras.run.assembly import load_table

Decode = Callable[[tf.Tensor], Any]
_READERS = 4


def main(argv: Sequence[str]) -> int:
    """Verifies the data set that the flags name; returns the exit status, 1 where an image is broken."""
    config = flags.parse(argv).config
    # A missing file is one more broken row of the report, not the end of it.
    config = dataclasses.replace(config, data=dataclasses.replace(config.data, check_images=False))
    return report(load_table(config), decode)


def report(table: RowTable, decode_image: Decode) -> int:
    """Prints every broken image and a summary; returns the exit status, 1 where there is one."""
    bad = list(broken_images(table, decode_image))
    for fault in bad:
        print(fault)
    print(f"{table.name}: {len(table)} rows, {table.num_images} distinct images, {len(bad)} broken.")
    return 1 if bad else 0


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
        try:
            return "" if int(size(tf.constant(table.read_bytes(row)))) else "an image without pixels"
        except OSError as error:
            return error.strerror or str(error)
        except tf.errors.OpError as error:
            return _sentence(error.message)

    return check


@functools.cache
def _size_graph(decode_image: Decode) -> Callable[[tf.Tensor], tf.Tensor]:
    return tf.function(
        lambda data: tf.size(decode_image(data)),
        input_signature=[tf.TensorSpec((), tf.string)],
        autograph=False,
    )


def _feature_check(table: RowTable) -> Callable[[int], str]:
    features = np.asarray(table.features)

    def check(row: int) -> str:
        return "" if np.isfinite(features[table.image_index[row]]).all() else "a NaN or infinite feature"

    return check


def _place(table: RowTable, row: int) -> str:
    path = "" if table.image_paths is None else f" ({table.image_paths[row]})"
    return f"{table.splits[row]} image {table.image_ids[row]!r}{path}"


def _sentence(message: str) -> str:
    """What went wrong, out of a TensorFlow message: the last line before the names of graph nodes."""
    lines = message.split("[[")[0].split("[Op:")[0].strip().splitlines() or ["unreadable"]
    last = re.sub(r"\{\{.*?\}\}", "", lines[-1]).strip()
    return re.sub(r"^assertion failed: \[(.*)\]$", r"\1", last).rstrip(".")


if __name__ == "__main__":
    sys.exit(flags.main_guard(main))
