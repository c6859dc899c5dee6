"""The files of one checkpoint: exact round trips, and every fault noticed."""

from __future__ import annotations

import pathlib

import ml_dtypes
import numpy as np
import pytest

from xmkeras.training.checkpoint_format import TornError, read, write

ARRAYS = {
    "weights/kernel": np.arange(12, dtype="float32").reshape(3, 4),
    "weights/half": np.array([[1.5, -2.0]], ml_dtypes.bfloat16),
    "optimizer/iteration": np.array(7, "int64"),
    "seed": np.array([1, 2**32 - 1], "uint32"),
    "flag": np.array([True, False]),
    "empty": np.zeros((0, 3), "float32"),
}


def test_arrays_and_state_come_back_exactly(tmp_path: pathlib.Path) -> None:
    state = {"best": 12.5, "rows": [3, 4], "text": "été", "none": None}
    write(tmp_path, 123, ARRAYS, state)
    checkpoint = read(tmp_path)
    assert checkpoint.step == 123
    assert checkpoint.state == state
    assert list(checkpoint.tensors) == list(ARRAYS)
    for name, array in ARRAYS.items():
        assert checkpoint.tensors[name].dtype == array.dtype
        np.testing.assert_array_equal(checkpoint.tensors[name], array, err_msg=name)


class Fetched:
    """Stands where a variable on a device does: it counts how often it is fetched."""

    def __init__(self, value: np.ndarray):
        self.value, self.fetched = value, 0

    def numpy(self) -> np.ndarray:
        self.fetched += 1
        return self.value


def test_a_variable_is_fetched_once(tmp_path: pathlib.Path) -> None:
    variable = Fetched(np.arange(3))
    write(tmp_path, 1, {"v": variable}, {})
    assert variable.fetched == 1
    np.testing.assert_array_equal(read(tmp_path).tensors["v"], [0, 1, 2])


def test_arrays_that_are_not_contiguous_are_saved_in_order(tmp_path: pathlib.Path) -> None:
    array = np.arange(24, dtype="int16").reshape(4, 6).T[::2]
    write(tmp_path, 1, {"a": array}, {})
    np.testing.assert_array_equal(read(tmp_path).tensors["a"], array)


def test_text_is_refused(tmp_path: pathlib.Path) -> None:
    with pytest.raises(TypeError, match="words"):
        write(tmp_path, 1, {"words": np.array(["a"])}, {})


def test_every_single_damaged_byte_of_a_value_is_noticed(tmp_path: pathlib.Path) -> None:
    write(tmp_path, 1, {"v": np.arange(4, dtype="int16")}, {"note": "x"})
    for name in ("tensors.bin", "manifest.json"):
        whole = (tmp_path / name).read_bytes()
        for position in range(len(whole) - 1):
            damaged = bytearray(whole)
            damaged[position] ^= 0x10
            (tmp_path / name).write_bytes(damaged)
            with pytest.raises(TornError):
                read(tmp_path)
        (tmp_path / name).write_bytes(whole)
    assert read(tmp_path).state == {"note": "x"}


def test_no_folder_is_a_torn_checkpoint(tmp_path: pathlib.Path) -> None:
    with pytest.raises(TornError, match="No such file"):
        read(tmp_path / "missing")
