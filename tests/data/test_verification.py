"""Tests of xmkeras/data/verification.py and of the command, xmkeras/verify.py."""

from __future__ import annotations

import os
import sys

import numpy as np
import pytest
import tensorflow as tf

from xmkeras.data.decoding import decode
from xmkeras.data.rows import Row, RowTable
from xmkeras.data.verification import broken_images, near_duplicates
from xmkeras.errors import UserError
from xmkeras.verify import main

PNG = tf.io.encode_png(np.zeros((3, 4, 3), np.uint8)).numpy()
JPEG = tf.io.encode_jpeg(np.zeros((30, 40, 3), np.uint8)).numpy()
BROKEN = {"cut.jpg": JPEG[:200], "text.png": b"hello", "cut.png": PNG[:40]}
FAULTS = {
    "cut.jpg": "Invalid JPEG data, size 200",
    "text.png": "These bytes are no PNG",
    "cut.png": "Invalid PNG",
}


@pytest.fixture
def folder(tmp_path):
    """A table of good and broken images; one good image has two rows."""
    lines = ["image,caption,split"]
    for name, data in {"good.png": PNG, "good.jpg": JPEG, **BROKEN}.items():
        (tmp_path / name).write_bytes(data)
        lines.append(f"{name},a picture,train")
    (tmp_path / "pairs.csv").write_text("\n".join([*lines, "good.png,another caption,train"]))
    return tmp_path


def test_every_broken_image_is_reported_with_place_and_fault(folder, capsys):
    assert main(["--source=table", f"--table={folder / 'pairs.csv'}"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == "pairs: 5 rows, 5 distinct images, 3 broken."
    for line, name in zip(lines, BROKEN, strict=False):
        assert line.startswith(f"train image {name!r} ({folder / name}): {FAULTS[name]}")
        assert line.endswith("; expected a PNG, JPEG, WebP, GIF or BMP file that can be decoded.")
        assert "node" not in line


def test_sound_data_exit_with_zero(folder, capsys):
    for name in BROKEN:
        (folder / name).write_bytes(PNG)
    assert main(["--source=table", f"--table={folder / 'pairs.csv'}"]) == 0
    assert capsys.readouterr().out == "pairs: 5 rows, 5 distinct images, 0 broken.\n"


def test_packed_bytes_are_read_too():
    rows = [Row(data, ("words",), 0, name, "test") for name, data in {"good": PNG, **BROKEN}.items()]
    bad = list(broken_images(RowTable.from_rows("set", rows, label_kind="image"), decode))
    assert str(bad[0]).startswith("test image 'cut.jpg': ")
    assert len(bad) == 3


def test_all_faults_of_a_table_are_told_at_once_and_a_pipe_is_not_waited_for(folder, capsys):
    os.mkfifo(folder / "pipe.png")
    text = (folder / "pairs.csv").read_text()
    lines = ["pipe.png,a picture,train", "good.jpg,,train", "none.png,no file,train", "odd.png,one,two,three"]
    lines += ['good.jpg,"never closed,train', "good.png,a split,nowhere", "good.png,other split,test"]
    (folder / "pairs.csv").write_text("\n".join([text, *lines, "last.png,is read too,train"]))
    assert main(["--source=table", f"--table={folder / 'pairs.csv'}"]) == 1
    out = capsys.readouterr().out
    for told in (
        "line 11: another number of fields than the 3",
        "line 12: a quote in this record is neither closed nor doubled",
        "line 13: unknown split 'nowhere'",
        "line 14: image", "pipe.png): it is no regular file", "none.png): No such file", "last.png): No such file",
        *FAULTS.values(),
    ):  # fmt: skip
        assert told in out, told
    assert out.splitlines()[-1] == "pairs: 8 rows, 8 distinct images, 10 broken."


def test_pictures_of_two_splits_that_look_alike_are_named(tmp_path):
    pytest.importorskip("imagehash")
    generator = np.random.default_rng(0)
    pixels = {name: generator.integers(0, 255, (24, 24, 3)).astype(np.uint8).repeat(4, 0) for name in "ab"}
    small = {"a.png": pixels["a"], "b.png": pixels["b"], "again.png": pixels["a"][::2]}
    for name, image in small.items():
        (tmp_path / name).write_bytes(tf.io.encode_png(image).numpy())
    splits = {"a.png": "train", "b.png": "train", "again.png": "test"}
    rows = [Row(str(tmp_path / name), ("words",), 0, name, split) for name, split in splits.items()]
    (told,) = near_duplicates(RowTable.from_rows("set", rows, label_kind="image"))
    assert told.startswith("train image 'a.png'")
    assert "looks like test image 'again.png'" in told


def test_without_the_package_that_hashes_one_sentence_says_so(monkeypatch):
    monkeypatch.setitem(sys.modules, "imagehash", None)
    table = RowTable.from_rows("set", [Row(PNG, ("words",), 0, "a", "train")], label_kind="image")
    with pytest.raises(UserError, match=r"pip install 'xmkeras\[verify\]'"):
        list(near_duplicates(table))


def test_an_image_that_went_away_is_broken(folder):
    rows = [Row(str(folder / name), ("words",), 0, name, "train") for name in ("good.png", "good.jpg")]
    table = RowTable.from_rows("set", rows, label_kind="image")
    (folder / "good.jpg").unlink()
    (bad,) = broken_images(table, decode)
    assert bad.fault == "No such file or directory"


def test_features_must_be_finite():
    rows = [Row(np.ones(3), ("words",), 0, str(number), "train") for number in range(3)]
    table = RowTable.from_rows("set", rows, label_kind="image")
    table.features[1, 2] = np.nan
    (bad,) = broken_images(table, decode)
    assert (bad.place, bad.fault) == ("train image '1'", "a NaN or infinite feature")
