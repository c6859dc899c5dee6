"""PyTorch's files without PyTorch: both layouts, strides, and what is refused."""

from __future__ import annotations

import pathlib
import pickle
import zipfile

import ml_dtypes
import numpy as np
import pytest

from tests.models.torch_writer import DICT, View, contiguous, legacy_file, one, permuted, pickled, tensor, zip_file
from xmkeras.errors import UserError
from xmkeras.models import torch_files
from xmkeras.models.torch_files import read_torch

RANDOM = np.random.default_rng(0)
ARRAYS = {
    "conv.weight": RANDOM.normal(size=(4, 3, 2, 5)).astype("f4"),
    "conv.bias": RANDOM.normal(size=4).astype("f8"),
    "half": RANDOM.normal(size=(2, 3)).astype("f2"),
    "brain": RANDOM.normal(size=(2, 3)).astype(ml_dtypes.bfloat16),
    "count": np.array(7),
    "none": np.zeros((0, 3), "f4"),
}
LAYOUTS = pytest.mark.parametrize("write", [legacy_file, zip_file])


@LAYOUTS
@pytest.mark.parametrize("stored", [permuted, contiguous])
def test_arrays_come_back(write, stored, tmp_path):
    read = read_torch(write(tmp_path / "a.pth", {name: stored(array) for name, array in ARRAYS.items()}))
    assert list(read) == list(ARRAYS)
    for name, array in ARRAYS.items():
        assert read[name].dtype == array.dtype
        np.testing.assert_array_equal(read[name], array)


@LAYOUTS
def test_tensors_may_share_a_storage(write, tmp_path):
    numbers = np.arange(24, dtype="f4")
    rows, slanted = View(numbers, 4, (2, 3), (6, 1)), View(numbers, 1, (3,), (7,))
    shared = b"\x80\x02}(" + one("rows") + tensor("0", rows) + one("slanted") + tensor("0", slanted) + b"u."
    read = read_torch(write(tmp_path / "a.pth", {"": rows}, shared))
    np.testing.assert_array_equal(read["rows"], [[4, 5, 6], [10, 11, 12]])
    np.testing.assert_array_equal(read["slanted"], [1, 8, 15])


@LAYOUTS
@pytest.mark.parametrize(
    ("offset", "shape", "strides"),
    [
        (0, (7,), (1,)),
        (1, (2, 3), (3, 1)),
        (0, (2, 3), (4, 1)),
        (-1, (2,), (1,)),
        (5, (2,), (-1,)),
        (0, (-2, -3), (3, 1)),
        (0, (2, 3), (3,)),
        (0, (1 << 40,), (0,)),
        (1 << 70, (2,), (1,)),
        (6, (), ()),
        (0.5, (2,), (1,)),
    ],
)
def test_a_view_stays_in_its_storage(write, offset, shape, strides, tmp_path):
    path = write(tmp_path / "a.pth", {"weight": View(np.ones(6, "f4"), offset, shape, strides)})
    with pytest.raises(UserError, match=r"a\.pth is no whole file of PyTorch tensors \(weight has the shape"):
        read_torch(path)


def calls(module: str, name: str, argument: object) -> bytes:
    return b"\x80\x02" + DICT + b"(" + one("weight") + f"c{module}\n{name}\n(".encode() + one(argument) + b"tRu."


@LAYOUTS
@pytest.mark.parametrize("module", ["os", "posix"])
def test_nothing_is_called(write, module, tmp_path):
    path = write(tmp_path / "a.pth", {}, calls(module, "system", f"touch {tmp_path / 'ran'}"))
    with pytest.raises(UserError, match=rf"holds more than tensors \({module}\.system\), which is not read for safety"):
        read_torch(path)
    assert not (tmp_path / "ran").exists()


class Calling:
    def __reduce__(self):
        return print, ("called",)


@LAYOUTS
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_no_protocol_has_a_way_round(write, protocol, tmp_path, capsys):
    with pytest.raises(UserError, match=r"more than tensors \(__builtin__\.print|more than tensors \(builtins\.print"):
        read_torch(write(tmp_path / "a.pth", {}, pickle.dumps({"weight": Calling()}, protocol)))
    assert not capsys.readouterr().out


@LAYOUTS
@pytest.mark.parametrize("admitted", [b"ctorch\nFloatStorage\n", b"ctorch._utils\n_rebuild_tensor_v2\n"])
@pytest.mark.parametrize("state", [b"}" + one("name") + one("x") + b"sb", b"N}" + one("name") + one("x") + b"s\x86b"])
def test_what_is_admitted_cannot_be_changed(write, admitted, state, tmp_path):
    before = dict(torch_files._ADMITTED)
    with pytest.raises(UserError):
        read_torch(write(tmp_path / "a.pth", {}, b"\x80\x02" + admitted + state + b"."))
    assert before == torch_files._ADMITTED
    objects = [value for value in before.values() if not isinstance(value, type)]
    assert not [value for value in objects if getattr(value, "__dict__", None)]
    good = {name: contiguous(array) for name, array in ARRAYS.items()}
    assert len(read_torch(write(tmp_path / "b.pth", good))) == len(ARRAYS)


@LAYOUTS
def test_no_pickle_takes_room_for_what_it_only_promises(write, tmp_path):
    bomb = b"\x80\x05" + pickle.BYTEARRAY8 + (2**40).to_bytes(8, "little")
    with pytest.raises(UserError, match=r"more than tensors \(a buffer\)"):
        read_torch(write(tmp_path / "a.pth", {}, bomb))


def test_a_compressed_pickle_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.pth", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", pickle.dumps("x" * 10**6))
    with pytest.raises(UserError, match=r"archive/data.pkl is compressed"):
        read_torch(tmp_path / "a.pth")


@LAYOUTS
def test_a_message_quotes_little(write, tmp_path):
    nested = pickle.EMPTY_TUPLE + 60 * (pickle.DUP + pickle.TUPLE2)  # as text it has 2**60 parts
    reference = pickle.MARK + one("tag") + nested + 3 * one("x") + pickle.TUPLE + pickle.BINPERSID
    with pytest.raises(UserError, match="more than tensors") as error:
        read_torch(write(tmp_path / "a.pth", {}, b"\x80\x02}" + one("weight") + reference + b"s."))
    assert len(str(error.value)) < 600


@LAYOUTS
@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ([1, 2], "a list in place of a state dict"),
        ({"epoch": 3}, "'epoch' is a int"),
        ({3: "name"}, "3 is a str"),
        ({"state_dict": {"weight": 1.5}}, "'state_dict' is a dict"),
    ],
)
def test_other_values_are_named(write, value, reason, tmp_path):
    with pytest.raises(UserError, match=rf"holds more than tensors \({reason}\)"):
        read_torch(write(tmp_path / "a.pth", {}, pickle.dumps(value, 2)))


@LAYOUTS
def test_a_truncated_or_mangled_file_is_one_sentence(write, tmp_path):
    path = write(tmp_path / "a.pth", {name: permuted(array) for name, array in ARRAYS.items()})
    whole = path.read_bytes()
    for length in range(0, len(whole), 11):
        path.write_bytes(whole[:length])
        with pytest.raises(UserError, match=r"a\.pth"):
            read_torch(path)
    faults = []
    for place in RANDOM.integers(0, len(whole), 300):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ int(RANDOM.integers(1, 256))]) + whole[place + 1 :])
        try:
            read_torch(path)  # A changed weight or name looks like another one.
        except UserError as error:
            faults.append(str(error))
    assert faults
    assert all(len(fault.splitlines()) == 1 for fault in faults)


def test_a_zip_that_unpacks_to_more_than_it_is_is_refused(tmp_path):
    view = contiguous(np.zeros(1 << 20, "f4"))
    with zipfile.ZipFile(tmp_path / "a.pth", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("any/data.pkl", pickled({"weight": view}))
        archive.writestr("any/data/0", view.storage.tobytes())
    with pytest.raises(UserError, match="compressed"):
        read_torch(tmp_path / "a.pth")


def test_what_is_no_such_file_is_named(tmp_path):
    (tmp_path / "text.pth").write_text("no weights")
    (tmp_path / "empty.pth").touch()
    (tmp_path / "one.pth").write_bytes(pickle.dumps({"weight": 1}))
    with zipfile.ZipFile(tmp_path / "photos.pth", "w") as archive:
        archive.writestr("a.jpg", b"")
    for name in ("text", "empty", "one", "photos"):
        with pytest.raises(UserError, match=rf"{name}\.pth is no whole file of PyTorch tensors \(.+\); download"):
            read_torch(tmp_path / f"{name}.pth")
    for path in (tmp_path / "missing.pth", pathlib.Path(tmp_path)):
        with pytest.raises(UserError, match="cannot be read"):
            read_torch(path)
