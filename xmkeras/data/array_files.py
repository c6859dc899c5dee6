"""Reads matrices of features from .mat, .npy, .npz, .h5 and parquet files."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from xmkeras.errors import UserError

ENDINGS = (".mat", ".npy", ".npz", ".h5", ".hdf5", ".parquet")


def read_arrays(path: str | pathlib.Path) -> dict[str, np.ndarray]:
    """Every array of a file by its name; the one array of a .npy file is called "array".

    A .npy file is mapped into memory, not read. A column of lists in a parquet file becomes a matrix, others vectors.

    Raises:
        UserError: there is no such file, its kind is unknown, or it cannot be read. Pickled objects are never read.
    """
    path = pathlib.Path(path).expanduser()
    if not path.is_file():
        raise UserError(f"There is no feature file {path}; give one of {', '.join(ENDINGS)}.")
    readers = {".mat": _mat, ".npy": _npy, ".npz": _npz, ".h5": _hdf5, ".hdf5": _hdf5, ".parquet": _parquet}
    if path.suffix not in readers:
        raise UserError(f"{path} is no feature file that can be read; expected one of {', '.join(ENDINGS)}.")
    try:
        return readers[path.suffix](path)
    except (OSError, ValueError, NotImplementedError, KeyError) as error:
        raise UserError(f"The feature file {path} cannot be read: {error}.") from error


def read_matrix(path: str | pathlib.Path, name: str = "") -> np.ndarray:
    """One matrix (n, d), or (n, r, d), of a file: the array called `name`, or the only matrix there is.

    Raises:
        UserError: as `read_arrays`; or there is no such array, or more than one to choose from.
    """
    arrays = read_arrays(path)
    if name:
        return pick(arrays, name, path)
    matrices = {key: value for key, value in arrays.items() if value.ndim in (2, 3)}
    if len(matrices) != 1:
        have = ", ".join(f"{key} {value.shape}" for key, value in arrays.items())
        raise UserError(f"{path} holds {have}; name one of them: {path}:NAME.")
    return next(iter(matrices.values()))


def pick(arrays: Mapping[str, np.ndarray], name: str, path: str | pathlib.Path) -> np.ndarray:
    """The array `name` of the file `path`; UserError with those that are there where it is not."""
    if name not in arrays:
        have = ", ".join(f"{key} {value.shape}" for key, value in arrays.items())
        raise UserError(f"{path} has no array {name!r}; it holds {have}.")
    return arrays[name]


def split_reference(reference: str) -> tuple[str, str]:
    """`FILE` or `FILE:ARRAY` -> file and array ("" for none)."""
    path, _, name = reference.rpartition(":")
    known = path.endswith(ENDINGS)
    return (path, name) if known else (reference, "")


def _mat(path: pathlib.Path) -> dict[str, np.ndarray]:
    import scipy.io

    try:
        contents: dict[str, Any] = scipy.io.loadmat(path)
    except NotImplementedError:  # version 7.3 is HDF5, stored column by column
        return {name: array.T for name, array in _hdf5(path).items()}
    return {name: np.asarray(_dense(value)) for name, value in contents.items() if not name.startswith("__")}


def _dense(value: Any) -> Any:
    return value.toarray() if hasattr(value, "toarray") else value


def _npy(path: pathlib.Path) -> dict[str, np.ndarray]:
    return {"array": np.load(path, mmap_mode="r", allow_pickle=False)}


def _npz(path: pathlib.Path) -> dict[str, np.ndarray]:
    with np.load(path, allow_pickle=False) as contents:
        return {name: contents[name] for name in contents.files}


def _hdf5(path: pathlib.Path) -> dict[str, np.ndarray]:
    import h5py

    arrays: dict[str, np.ndarray] = {}
    with h5py.File(path, "r") as file:
        for name, item in file.items():
            if isinstance(item, h5py.Dataset):
                arrays[name] = item.asstr()[()] if h5py.check_string_dtype(item.dtype) else item[()]
    return arrays


def _parquet(path: pathlib.Path) -> dict[str, np.ndarray]:
    import pandas as pd

    table = pd.read_parquet(path)
    arrays = {}
    for name in table.columns:
        values = table[name].to_numpy()
        lists = len(values) and isinstance(values[0], (list, np.ndarray))
        arrays[str(name)] = np.stack([np.asarray(value) for value in values]) if lists else values
    return arrays
