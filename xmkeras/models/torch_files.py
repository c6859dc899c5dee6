"""Reads the tensors of PyTorch files into numpy without PyTorch, and without running what a pickle asks for."""

from __future__ import annotations

import collections
import io
import math
import os
import pathlib
import pickle
import reprlib
import struct
import zipfile
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np

from xmkeras.errors import UserError

_MAGIC = 0x1950A86A20F9469CFC6C
_PROTOCOL = 1001
_DTYPES = {
    "FloatStorage": np.float32,
    "DoubleStorage": np.float64,
    "HalfStorage": np.float16,
    "BFloat16Storage": ml_dtypes.bfloat16,
    "LongStorage": np.int64,
    "IntStorage": np.int32,
    "ShortStorage": np.int16,
    "CharStorage": np.int8,
    "ByteStorage": np.uint8,
    "BoolStorage": np.bool_,
}


def read_torch(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """The tensors of a file that `torch.save(model.state_dict(), path)` wrote, by name.

    Both layouts are read: the zip of PyTorch 1.6 and later, and the pickles with raw storages behind them of earlier
    versions. Strides are kept as they are, since kernels are often saved permuted; arrays are read-only views.

    Raises:
        UserError: the file is missing, truncated or mangled, or holds anything but tensors: a pickle may name any
            function to be called, and none but those that make tensors is looked up.
    """
    try:
        data = pathlib.Path(path).read_bytes()
        read = _read_zip if zipfile.is_zipfile(io.BytesIO(data)) else _read_legacy
        tensors, storages = read(data)
        return {name: _array(name, tensor, storages) for name, tensor in _named(tensors).items()}
    except OSError as error:
        raise UserError(f"The weights {path} cannot be read: {error.strerror or error}.") from error
    except _NotTensorsError as error:
        raise UserError(
            f"{path} holds more than tensors ({_line(error)}), which is not read for safety; give a file that "
            "torch.save(model.state_dict(), FILE) wrote."
        ) from error
    except Exception as error:  # A mangled pickle makes its reader raise errors of every kind.
        raise UserError(f"{path} is no whole file of PyTorch tensors ({_line(error)}); download it again.") from error


def _line(error: Exception) -> str:
    """What an error says, which may quote a mangled file."""
    return " ".join(str(error).split()).rstrip(".")[:200] or type(error).__name__


class _NotTensorsError(Exception):
    """A pickle asks for something else."""


class _StorageType(NamedTuple):
    """What stands for a class like `torch.FloatStorage`."""

    name: str


class _Storage(NamedTuple):
    """Numbers of one type, without a shape: where they lie is told by `key`."""

    kind: _StorageType
    key: str
    size: int

    @property
    def dtype(self) -> np.dtype:
        return np.dtype(_DTYPES[self.kind.name]).newbyteorder("<")


class _Tensor(NamedTuple):
    """A strided view of a storage; offset and strides count elements."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class _TensorMaker(NamedTuple):
    """What stands for `torch._utils._rebuild_tensor_v2`: unlike a function, no pickle can change it."""

    name: str

    def __call__(self, storage: _Storage, offset: int, shape: Any, strides: Any, *_: Any) -> _Tensor:
        return _Tensor(storage, offset, tuple(shape), tuple(strides))


# All that a pickle may name; none of these does more than to put its arguments together.
_ADMITTED: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): collections.OrderedDict,
    ("torch._utils", "_rebuild_tensor"): _TensorMaker("_rebuild_tensor"),
    ("torch._utils", "_rebuild_tensor_v2"): _TensorMaker("_rebuild_tensor_v2"),
    **{("torch", name): _StorageType(name) for name in _DTYPES},
}


def _refuse_buffer(*_: Any) -> None:
    raise _NotTensorsError("a buffer")


# Python's own unpickler: in the one written in C a mangled number of a memo can ask for gigabytes.
class _Unpickler(pickle._Unpickler):
    # A byte array takes the room that a pickle asks for before it is read, and PyTorch writes none.
    dispatch = {  # noqa: RUF012 - as in the class above it
        **pickle._Unpickler.dispatch,
        **{code[0]: _refuse_buffer for code in (pickle.BYTEARRAY8, pickle.NEXT_BUFFER, pickle.READONLY_BUFFER)},
    }

    def __init__(self, file: io.BytesIO):
        super().__init__(file)
        self.storages: dict[str, _Storage] = {}

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ADMITTED:
            raise _NotTensorsError(f"{module}.{name}")
        return _ADMITTED[module, name]

    def persistent_load(self, pid: Any) -> _Storage:
        tag, kind, key, _, count, *view = pid
        if tag != "storage" or not isinstance(kind, _StorageType) or view not in ([], [None]):
            raise _NotTensorsError(f"a reference {reprlib.repr(pid)}")
        storage = _Storage(kind, str(key), int(count))
        if self.storages.setdefault(storage.key, storage) != storage:
            raise ValueError(f"storage {key} has two types or sizes")
        return storage


_Storages = Mapping[str, np.ndarray]


def _read_legacy(data: bytes) -> tuple[Any, _Storages]:
    """Pickles of a magic number, a version, the machine, the tensors and the storages' keys; then the storages."""
    file = io.BytesIO(data)
    magic, protocol, machine = (_Unpickler(file).load() for _ in range(3))
    if (magic, protocol) != (_MAGIC, _PROTOCOL):
        raise ValueError("it does not begin as one")
    if not machine["little_endian"]:
        raise ValueError("it was written on a big-endian machine")
    unpickler = _Unpickler(file)
    tensors = unpickler.load()
    storages = {}
    for key in _Unpickler(file).load():
        storage = unpickler.storages[key]
        if struct.unpack("<q", file.read(8)) != (storage.size,):
            raise ValueError(f"storage {key} has another size than its tensors")
        storages[key] = np.frombuffer(file.read(storage.size * storage.dtype.itemsize), storage.dtype, storage.size)
    return tensors, storages


def _read_zip(data: bytes) -> tuple[Any, _Storages]:
    """A folder of any name with the tensors in `data.pkl`, and each storage in a file `data/KEY`."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        entries = {info.filename: info for info in archive.infolist()}
        read: Callable[[str], bytes] = lambda name: archive.read(_stored(entries[name]))  # noqa: E731
        (root,) = [name.removesuffix("data.pkl") for name in entries if name.endswith("/data.pkl")]
        if f"{root}byteorder" in entries and read(f"{root}byteorder") != b"little":
            raise ValueError("it was written on a big-endian machine")
        unpickler = _Unpickler(io.BytesIO(read(f"{root}data.pkl")))
        tensors = unpickler.load()
        return tensors, {
            key: np.frombuffer(read(f"{root}data/{key}"), storage.dtype, storage.size)
            for key, storage in unpickler.storages.items()
        }


def _stored(info: zipfile.ZipInfo) -> zipfile.ZipInfo:
    # PyTorch compresses nothing, and what is not compressed is no larger than the file.
    if info.compress_type != zipfile.ZIP_STORED:
        raise ValueError(f"{info.filename} is compressed")
    return info


def _named(tensors: Any) -> dict[str, _Tensor]:
    if not isinstance(tensors, dict):
        raise _NotTensorsError(f"a {type(tensors).__name__} in place of a state dict")
    for name, value in tensors.items():
        if not isinstance(name, str) or not isinstance(value, _Tensor):
            raise _NotTensorsError(f"{reprlib.repr(name)} is a {type(value).__name__.lstrip('_')}")
    return tensors


def _array(name: str, tensor: _Tensor, storages: _Storages) -> np.ndarray:
    """The view, which may not reach out of its storage: nobody has checked the numbers before."""
    storage = storages[tensor.storage.key]
    offset, shape, strides = tensor.offset, tensor.shape, tensor.strides
    numbers = (offset, *shape, *strides)
    if len(shape) != len(strides) or not all(isinstance(number, int) and number >= 0 for number in numbers):
        raise ValueError(f"{name} has {_extent(tensor)}")
    count = math.prod(shape)
    last = offset + sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True))
    if count and (last >= len(storage) or count > len(storage)):
        raise ValueError(f"{name} has {_extent(tensor)} of {len(storage)} numbers")
    if not count:
        return np.empty(shape, storage.dtype)
    steps = tuple(stride * storage.itemsize for stride in strides)
    return np.lib.stride_tricks.as_strided(storage[offset:], shape, steps, writeable=False)


def _extent(tensor: _Tensor) -> str:
    shape, strides, offset = map(reprlib.repr, (tensor.shape, tensor.strides, tensor.offset))
    return f"the shape {shape} with strides {strides} at {offset}"
