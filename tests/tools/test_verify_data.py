"""Tests of tools/verify_data.py."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tools.verify_data import broken_images, main, report
from xmkeras.data.decoding import decode
from xmkeras.data.rows import Row, RowTable

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


def test_packed_bytes_are_read_too(capsys):
    rows = [Row(data, ("words",), 0, name, "test") for name, data in {"good": PNG, **BROKEN}.items()]
    assert report(RowTable.from_rows("set", rows, label_kind="image"), decode) == 1
    assert capsys.readouterr().out.startswith("test image 'cut.jpg': ")


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
