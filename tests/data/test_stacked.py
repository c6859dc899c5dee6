"""Stacked arrays against their concatenation, from memory and from mapped files of any alignment."""

from __future__ import annotations

import pathlib

import numpy as np
import pytest
import tensorflow as tf

from xmkeras.data.readers import gatherer
from xmkeras.data.stacked import Stacked, stacked

PARTS = tuple(np.random.default_rng(size).normal(size=(size, 2, 3)).astype(np.float32) for size in (4, 1, 6))
WHOLE = np.concatenate(PARTS)


@pytest.mark.parametrize(
    "rows",
    [3, np.int64(4), -1, slice(2, 9, 3), slice(None), [10, 0, 4, 4], WHOLE[:, 0, 0] > 0, slice(0, 0)],
    ids=str,
)
def test_rows_are_those_of_the_concatenation(rows):
    array = Stacked(PARTS)
    np.testing.assert_array_equal(array[rows], WHOLE[rows])
    assert (array.shape, array.ndim, array.dtype, array.nbytes) == (WHOLE.shape, 3, WHOLE.dtype, WHOLE.nbytes)


def test_one_part_is_itself():
    assert stacked(PARTS[0]) is PARTS[0]
    with pytest.raises(IndexError):
        Stacked(PARTS)[11]


def save_unaligned(path: pathlib.Path, array: np.ndarray) -> np.memmap:
    """An .npy file as NumPy wrote it before 2018: data from byte 80 on, where TensorFlow wants a multiple of 64."""
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {array.shape}, }}"
    header = header.ljust(80 - 10 - 1) + "\n"
    path.write_bytes(b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode() + array.tobytes())
    return np.load(path, mmap_mode="r")


@pytest.mark.parametrize("unaligned", [(), (1,), (0, 1, 2)])
def test_a_graph_gathers_from_every_part(tmp_path, unaligned):
    parts = []
    for number, part in enumerate(PARTS):
        path = tmp_path / f"{number}.npy"
        np.save(path, part)
        parts.append(save_unaligned(path, part) if number in unaligned else np.load(path, mmap_mode="r"))
    assert [part.offset for part in parts if part.offset % 64] == [80] * len(unaligned)
    gather = tf.function(gatherer(stacked(*parts)), autograph=False)
    for rows in ([10, 0, 4, 3, 5], [1], [4, 4], []):
        np.testing.assert_array_equal(gather(tf.constant(rows, tf.int64)), WHOLE[np.array(rows, np.int64)])
    shape = gather.get_concrete_function(tf.TensorSpec((7,), tf.int64)).output_shapes
    assert shape == (7, 2, 3)
