"""One checkpoint on disk: arrays and state in a folder, with checksums.

The folder holds

- `tensors.bin`: the arrays, one after the other, each at a multiple of 64 bytes,
- `manifest.json`: step, state, and name, type, shape, place and CRC-32 of every array, then its own CRC-32.

Arrays are written one at a time and read through a memory map, so saving and restoring need no second copy
of the model.
"""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
import zlib
from collections.abc import Mapping
from typing import Any, BinaryIO

import ml_dtypes  # noqa: F401 (teaches numpy the name "bfloat16")
import numpy as np

_ALIGNMENT = 64


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """A whole checkpoint: the number of steps done, the arrays by name (read-only, on disk) and the state."""

    step: int
    tensors: dict[str, np.ndarray]
    state: dict[str, Any]


class TornError(Exception):
    """A checkpoint is not whole; the message says why."""


def write(folder: pathlib.Path, step: int, tensors: Mapping[str, Any], state: Mapping[str, Any]) -> None:
    """Writes the files of a checkpoint into an existing folder and flushes them to the disk.

    Args:
        folder: where to.
        step: number of steps done.
        tensors: arrays, or things with a method `numpy`, by name.
        state: whatever JSON can hold.

    Raises:
        OSError: the disk is full or cannot be written.
        TypeError: an array does not hold numbers.
    """
    with open(folder / "tensors.bin", "wb") as file:
        entries = [_append(file, name, value) for name, value in tensors.items()]
        size = file.tell()
        _flush(file)
    manifest = {"format": 1, "step": step, "size": size, "state": dict(state), "tensors": entries}
    body = json.dumps(manifest).encode()
    with open(folder / "manifest.json", "wb") as file:
        file.write(body + b"\n%08x\n" % zlib.crc32(body))
        _flush(file)


def _append(file: BinaryIO, name: str, value: Any) -> dict[str, Any]:
    array = np.asarray(value.numpy() if hasattr(value, "numpy") else value)
    if array.dtype.hasobject or array.dtype.kind in "USMm":
        raise TypeError(f"{name} is of type {array.dtype}, but a checkpoint holds numbers only")
    data = _bytes(array)
    file.write(bytes(-file.tell() % _ALIGNMENT))
    offset = file.tell()
    file.write(data)
    return {
        "name": name,
        "dtype": array.dtype.name,
        "shape": array.shape,
        "offset": offset,
        "crc": zlib.crc32(data),
    }


def read(folder: pathlib.Path) -> Checkpoint:
    """Reads a checkpoint and checks every byte.

    Raises:
        TornError: anything is amiss.
    """
    try:
        body, _, crc = (folder / "manifest.json").read_bytes().rstrip(b"\n").rpartition(b"\n")
        if not crc or zlib.crc32(body) != int(crc, 16):
            raise TornError("its manifest is damaged")
        manifest = json.loads(body)
        size = (folder / "tensors.bin").stat().st_size
        if size != manifest["size"]:
            raise TornError(f"tensors.bin has {size} bytes instead of {manifest['size']}")
        data = np.memmap(folder / "tensors.bin", np.uint8, "r") if size else np.zeros(0, np.uint8)
    except (OSError, ValueError) as error:
        raise TornError(str(error)) from error
    tensors = {entry["name"]: _view(data, entry) for entry in manifest["tensors"]}
    return Checkpoint(manifest["step"], tensors, manifest["state"])


def _view(data: np.ndarray, entry: dict[str, Any]) -> np.ndarray:
    dtype = np.dtype(entry["dtype"])
    count = int(np.prod(entry["shape"], dtype=np.int64))
    part = data[entry["offset"] : entry["offset"] + count * dtype.itemsize]
    if zlib.crc32(_bytes(part)) != entry["crc"]:
        raise TornError(f"the bytes of {entry['name']} are damaged")
    return np.asarray(part).view(dtype).reshape(entry["shape"])


def _bytes(array: np.ndarray) -> memoryview:
    """The bytes of an array in C order, without a copy where it is contiguous."""
    flat: Any = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
    return memoryview(flat)


def _flush(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())
