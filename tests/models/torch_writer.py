"""Writes small files as `torch.save` does, in both of its layouts, and such as it never would."""

from __future__ import annotations

import io
import pathlib
import pickle
import zipfile
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

KINDS = {"float32": "Float", "float64": "Double", "float16": "Half", "bfloat16": "BFloat16", "int64": "Long"}
DICT = b"ccollections\nOrderedDict\n)R"


class View(NamedTuple):
    """A tensor as its file has it: a storage, and where in it the numbers lie, counted in elements."""

    storage: np.ndarray
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def permuted(array: np.ndarray) -> View:
    """`array` stored with its axes the other way round."""
    return View(array.ravel("F"), 0, array.shape, _strides(array.copy("F")))


def contiguous(array: np.ndarray) -> View:
    """`array` behind three numbers of another tensor's."""
    return View(np.concatenate([np.ones(3, array.dtype), array.ravel()]), 3, array.shape, _strides(array.copy("C")))


def legacy_file(path: pathlib.Path, views: Mapping[str, View], tensors: bytes = b"") -> pathlib.Path:
    """The layout before PyTorch 1.6; `tensors` in place of the pickle of the views."""
    machine = {"protocol_version": 1001, "little_endian": True, "type_sizes": {"short": 2, "int": 4, "long": 4}}
    parts = [pickle.dumps(part, 2) for part in (0x1950A86A20F9469CFC6C, 1001, machine)]
    parts += [tensors or pickled(views, b"N"), pickle.dumps([str(number) for number in range(len(views))], 2)]
    for view in views.values():
        parts += [len(view.storage).to_bytes(8, "little"), view.storage.tobytes()]
    path.write_bytes(b"".join(parts))
    return path


def zip_file(path: pathlib.Path, views: Mapping[str, View], tensors: bytes = b"") -> pathlib.Path:
    """The layout since PyTorch 1.6."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("any/data.pkl", tensors or pickled(views))
        archive.writestr("any/byteorder", "little")
        for number, view in enumerate(views.values()):
            archive.writestr(f"any/data/{number}", view.storage.tobytes())
        archive.writestr("any/version", "3\n")
    path.write_bytes(file.getvalue())
    return path


def pickled(views: Mapping[str, View], view_metadata: bytes = b"") -> bytes:
    """The pickle of a state dict, storages named by their number."""
    items = b"".join(
        one(name) + tensor(str(number), view, view_metadata) for number, (name, view) in enumerate(views.items())
    )
    return b"\x80\x02" + DICT + b"(" + items + b"u" + b"}" + one("_metadata") + DICT + b"sb" + b"."


def tensor(key: str, view: View, view_metadata: bytes = b"") -> bytes:
    kind = f"ctorch\n{KINDS[view.storage.dtype.name]}Storage\n".encode()
    storage = b"(" + one("storage") + kind + one(key) + one("cpu") + one(len(view.storage)) + view_metadata + b"tQ"
    place = one(view.offset) + one(view.shape) + one(view.strides)
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + place + b"\x89" + DICT + b"tR"


def _strides(array: np.ndarray) -> tuple[int, ...]:
    return tuple(stride // array.itemsize for stride in array.strides)


def one(value: object) -> bytes:
    """The opcodes that put a plain value on the stack."""
    return pickle.dumps(value, 2)[2:-1]
