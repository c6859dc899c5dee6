"""Matrices come back from every kind of file, and what cannot be read is explained."""

from __future__ import annotations

import h5py
import numpy as np
import pandas as pd
import pytest
import scipy.io

from xmkeras.data.array_files import read_arrays, read_matrix, split_reference
from xmkeras.errors import UserError

MATRIX = np.arange(6.0).reshape(3, 2)


def write(path):
    if path.suffix == ".mat":
        scipy.io.savemat(path, {"x": MATRIX})
    elif path.suffix == ".npy":
        np.save(path, MATRIX)
    elif path.suffix == ".npz":
        np.savez(path, x=MATRIX)
    elif path.suffix == ".h5":
        with h5py.File(path, "w") as file:
            file["x"] = MATRIX
    else:
        pd.DataFrame({"x": list(MATRIX)}).to_parquet(path)
    return path


@pytest.mark.parametrize("ending", [".mat", ".npy", ".npz", ".h5", ".parquet"])
def test_reads(ending, tmp_path):
    path = write(tmp_path / f"f{ending}")
    np.testing.assert_array_equal(read_matrix(path), MATRIX)
    if ending != ".npy":
        np.testing.assert_array_equal(read_matrix(path, "x"), MATRIX)


def test_an_npy_file_is_mapped_and_not_read(tmp_path):
    assert isinstance(read_matrix(write(tmp_path / "f.npy")), np.memmap)


def test_matlab_7_3_is_hdf5_stored_column_by_column(tmp_path):
    with h5py.File(tmp_path / "new.mat", "w", userblock_size=512) as file:
        file["x"] = MATRIX.T
    with open(tmp_path / "new.mat", "r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file".ljust(116) + b" " * 8 + b"\x00\x02IM")
    np.testing.assert_array_equal(read_matrix(tmp_path / "new.mat"), MATRIX)


def test_a_sparse_matrix_becomes_dense(tmp_path):
    scipy.io.savemat(tmp_path / "s.mat", {"x": scipy.sparse.csc_matrix(MATRIX)})
    np.testing.assert_array_equal(read_matrix(tmp_path / "s.mat"), MATRIX)


def test_text_columns(tmp_path):
    with h5py.File(tmp_path / "t.h5", "w") as file:
        file["names"] = ["a", "b"]
    assert read_arrays(tmp_path / "t.h5")["names"].tolist() == ["a", "b"]


def test_faults(tmp_path):
    np.savez(tmp_path / "two.npz", a=MATRIX, b=MATRIX)
    with pytest.raises(UserError, match="name one of them"):
        read_matrix(tmp_path / "two.npz")
    with pytest.raises(UserError, match=r"no array 'c'.*a \(3, 2\)"):
        read_matrix(tmp_path / "two.npz", "c")
    with pytest.raises(UserError, match="There is no feature file"):
        read_matrix(tmp_path / "none.npy")
    (tmp_path / "f.pkl").write_bytes(b"")
    with pytest.raises(UserError, match="expected one of"):
        read_matrix(tmp_path / "f.pkl")
    (tmp_path / "torn.npy").write_bytes(b"torn")
    with pytest.raises(UserError, match="cannot be read"):
        read_matrix(tmp_path / "torn.npy")
    np.save(tmp_path / "objects.npy", np.array([{}], object), allow_pickle=True)
    with pytest.raises(UserError, match="cannot be read"):
        read_matrix(tmp_path / "objects.npy")


def test_references():
    assert split_reference("a.npz:x") == ("a.npz", "x")
    assert split_reference("a.npz") == ("a.npz", "")
    assert split_reference("C:/a.npz") == ("C:/a.npz", "")
