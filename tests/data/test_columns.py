"""Tests of xmkeras/data/columns.py."""

from __future__ import annotations

import numpy as np
import pytest

from xmkeras.data.columns import ColumnBuilder, dense_labels
from xmkeras.data.row import Row
from xmkeras.errors import UserError


def builder(label_kind="class", check_images=True):
    return ColumnBuilder(label_kind, lambda number: f"line {number + 1}", check_images)


def row(image_id="a", split="train", label="x", image=b"data", captions=("words",)):
    return Row(image, captions, label, image_id, split)


def test_labels_of_training_come_first_then_validation_then_test():
    labels, names = dense_labels(["d", "c", "b", "a", "b"], ["test", "validation", "train", "test", "test"])
    assert names == ["b", "c", "a", "d"]
    np.testing.assert_array_equal(labels, [3, 1, 0, 2, 0])
    assert labels.dtype == np.int64


def test_numeric_labels_are_ordered_as_numbers():
    _, names = dense_labels([10, 9, 100], ["train"] * 3)
    assert names == ["9", "10", "100"]


def test_rows_of_one_image_share_its_number():
    columns = builder()
    for image_id in ("a", "b", "a"):
        columns.add(row(image_id))
    np.testing.assert_array_equal(columns.columns("set")["image_index"], [0, 1, 0])
    assert columns.columns("set")["encoded"] == [b"data", b"data"]


@pytest.mark.parametrize(
    ("second", "fault"),
    [
        (row("a", split="test"), "image 'a' is in split test here but in train before"),
        (row("a", label="y"), "image 'a' has label 'y' here but 'x' before"),
        (row("b", image="file.png"), "another kind of image"),
    ],
)
def test_contradictions_name_both_places(second, fault):
    columns = builder(check_images=False)
    columns.add(row("a"))
    with pytest.raises(UserError, match=fault) as caught:
        columns.add(second)
    assert "line 2" in str(caught.value)


def test_one_id_cannot_name_two_files():
    columns = builder(check_images=False)
    columns.add(row("a", image="one.png"))
    with pytest.raises(UserError, match=r"names 'two.png' here but 'one.png' before"):
        columns.add(row("a", image="two.png"))


def test_features_are_stacked_and_must_agree_in_shape():
    columns = builder()
    columns.add(row("a", image=np.ones(3)))
    columns.add(row("b", image=np.zeros(3)))
    stacked = columns.columns("set")["features"]
    assert stacked.shape == (2, 3)
    assert stacked.dtype == np.float32
    columns.add(row("c", image=np.zeros(4)))
    with pytest.raises(UserError, match="differ in shape"):
        columns.columns("set")


def test_no_rows_at_all_is_an_error():
    with pytest.raises(UserError, match="The data set pets has no rows"):
        builder().columns("pets")
