"""Tests of xmkeras/data/row.py."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from xmkeras.data.row import BadRow, Row, check_row

GOOD = Row(b"\x89PNG", ("a red heart",), "heart", "heart-1", "train")


def changed(**fields: object) -> Row:
    return dataclasses.replace(GOOD, **fields)


def test_a_good_row_has_no_fault():
    assert check_row(GOOD, "line 1") is None


@pytest.mark.parametrize(
    ("fields", "fault"),
    [
        ({"captions": ()}, "no caption"),
        ({"captions": ("fine", "  ")}, "an empty caption"),
        ({"captions": ("fine", None)}, "an empty caption"),
        ({"split": "val"}, "unknown split 'val'"),
        ({"image_id": ""}, "the image id is empty"),
        ({"label": 1.5}, "a label of type float"),
        ({"image": b""}, "the image has no bytes"),
        ({"image": "/nowhere/at/all.png"}, "no such image file '/nowhere/at/all.png'"),
        ({"image": "with\0null.png"}, "is no text that can be written"),
        ({"image": np.array([1.0, np.nan])}, "NaN"),
        ({"image": np.zeros(0)}, "an empty feature array"),
    ],
)
def test_each_fault_is_named_with_its_place(fields, fault):
    bad = check_row(changed(**fields), "pairs.csv line 7")
    assert bad is not None
    assert bad.place == "pairs.csv line 7"
    assert fault in bad.fault


def test_images_alone_need_no_caption():
    assert check_row(changed(captions=()), "row 1", captions=False) is None
    assert check_row(changed(captions=(" ",)), "row 1", captions=False) is not None


def test_an_empty_image_file_is_a_fault(tmp_path):
    (tmp_path / "empty.png").touch()
    bad = check_row(changed(image=str(tmp_path / "empty.png")), "row 1")
    assert bad is not None
    assert "is empty" in bad.fault


def test_the_image_file_is_looked_for_on_request_only():
    assert check_row(changed(image="/nowhere.png"), "row 1", check_image=False) is None


@pytest.mark.parametrize("label", [3, "rose", np.int64(3)])
def test_labels_are_numbers_or_names(label):
    assert check_row(changed(label=label), "row 1") is None


def test_a_bad_row_reads_as_one_sentence():
    bad = BadRow("a.csv line 2", "no caption", "at least one caption")
    assert str(bad) == "a.csv line 2: no caption; expected at least one caption."
