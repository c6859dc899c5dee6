"""Files that are written whole or not at all, files in installed packages, and the safetensors format."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import math
import os
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import ml_dtypes
import numpy as np

from xmkeras.errors import UserError

_DTYPES = {"F64": np.float64, "F32": np.float32, "F16": np.float16, "BF16": ml_dtypes.bfloat16, "I64": np.int64}


def write_atomically(path: str | os.PathLike[str], data: bytes | str) -> None:
    """Writes beside `path`, then moves it there: a reader, or a crash, sees the old file or the new one.

    Args:
        path: the file; its folder is made where it is missing.
        data: the contents, text as UTF-8.

    Raises:
        UserError: the disk is full or the folder cannot be written; the old file is as it was.
    """
    contents = data.encode() if isinstance(data, str) else data
    with explained(path), _whole(Path(path)) as file:
        file.write(contents)


@contextlib.contextmanager
def explained(path: str | os.PathLike[str], otherwise: str = "choose another folder") -> Iterator[None]:
    """Says in one sentence that `path` cannot be written, and what may be done beside freeing space.

    Raises:
        UserError: in place of an OSError.
    """
    try:
        yield
    except OSError as error:
        raise UserError(
            f"{path} cannot be written: {error.strerror}; free some space there or {otherwise}."
        ) from error


def writable(folder: str | os.PathLike[str]) -> bool:
    """Whether a file can be made in `folder`, which is made where it is missing."""
    try:
        os.makedirs(folder, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError:
        return False
    return True


@contextlib.contextmanager
def new_array(
    path: str | os.PathLike[str], shape: tuple[int, ...], kind: str = "float32"
) -> Iterator[np.memmap]:
    """An array of `shape` and a `kind` of number in a new .npy file, to be filled.

    The file is in place once the block ends, and gone if it fails.

    Raises:
        OSError: the disk is full or the folder cannot be written; an old file is as it was. See `explained`.
    """
    dtype = np.dtype(kind).newbyteorder("<")
    with _whole(Path(path)) as file:
        np.lib.format.write_array_header_1_0(file, {"descr": dtype.str, "fortran_order": False, "shape": shape})
        # Writing to a map of a disk that is full kills the process: the room is taken before.
        os.posix_fallocate(file.fileno(), 0, file.tell() + max(1, dtype.itemsize * math.prod(shape)))
        file.flush()
        array = np.memmap(file, dtype, "r+", offset=file.tell(), shape=shape)
        yield array
        array.flush()


def read_safetensors(path: Path) -> dict[str, np.ndarray]:
    """The arrays of a safetensors file by name, memory-mapped: 8 bytes of header length, JSON header, data.

    Raises:
        UserError: the file is damaged or holds a type that no BERT has.
    """
    try:
        data = np.memmap(path, np.uint8, "r")
        start = 8 + int(data[:8].view("<u8")[0])
        header = json.loads(bytes(data[8:start]))
        header.pop("__metadata__", None)
        return {name: _array(data[start:], entry) for name, entry in header.items()}
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        raise UserError(f"The weights {path} cannot be read ({error}); download them again.") from error


def package_folder(module: str, missing: str) -> Path:
    """The folder of an installed package, which is not imported: what it would import may not be there.

    Args:
        module: as Python imports it.
        missing: what to say where it is not installed, with the pip command.

    Raises:
        UserError: it is not installed.
    """
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        raise UserError(missing)
    return Path(spec.origin).parent


@contextlib.contextmanager
def _whole(path: Path) -> Iterator[BinaryIO]:
    """A new file beside `path`, moved there when the block ends, deleted when an exception ends it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, partial = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    try:
        with os.fdopen(handle, "w+b") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        # mkstemp makes files private; a report is to be read by whoever may read its folder.
        os.chmod(partial, 0o644)
        os.replace(partial, path)
    except BaseException:
        os.unlink(partial)
        raise


def _array(data: np.ndarray, entry: Mapping[str, Any]) -> np.ndarray:
    first, last = entry["data_offsets"]
    return data[first:last].view(_DTYPES[entry["dtype"]]).reshape(entry["shape"])
