"""Tests of xmkeras/data/rows.py."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from xmkeras.data.rows import Row, RowTable
from xmkeras.errors import UserError


@pytest.fixture
def table(tmp_path) -> RowTable:
    """Six rows of five images in three splits; image 1 has two rows."""
    rows = []
    for number, split in enumerate(["train", "train", "validation", "test", "test"]):
        path = tmp_path / f"{number}.png"
        path.write_bytes(b"image %d" % number)
        rows.append(
            Row(str(path), (f"caption {number}",), f"label {4 - number}", f"id{number}", split, "things")
        )
    again = Row(rows[1].image, ("another caption",), rows[1].label, "id1", "train", "things")
    return RowTable.from_rows("toys", [*rows, again], label_kind="class", credit="by someone")


def test_columns_hold_what_the_rows_said(table):
    assert len(table) == 6
    assert table.num_images == 5
    assert table.captions[5] == ("another caption",)
    assert table.image_ids == ["id0", "id1", "id2", "id3", "id4", "id1"]
    np.testing.assert_array_equal(table.image_index, [0, 1, 2, 3, 4, 1])
    assert [table.label_names[label] for label in table.labels] == [f"label {n}" for n in (4, 3, 2, 1, 0, 3)]
    assert table.split_names == ["train", "validation", "test"]
    assert table.credit == "by someone"


def test_a_split_keeps_label_and_image_numbers(table):
    test = table.split("test")
    np.testing.assert_array_equal(test.labels, table.labels[3:5])
    np.testing.assert_array_equal(test.image_index, [3, 4])
    assert test.image_paths == table.image_paths[3:5]


def test_the_training_split_counts_training_labels_only(table):
    assert table.num_labels == 5
    assert table.split("train").num_labels == 2


def test_an_empty_split_names_those_there_are(table):
    with pytest.raises(UserError, match="no rows in split 'test'; its splits are train, validation"):
        table.take(np.array([0, 1, 2])).split("test")


def test_distinct_images_are_the_first_row_of_each(table):
    np.testing.assert_array_equal(table.distinct_images(), [0, 1, 2, 3, 4])
    np.testing.assert_array_equal(table.take(np.array([5, 4, 1])).distinct_images(), [0, 1])


def test_images_are_read_in_graph(table):
    read = [*tf.data.Dataset.range(6).map(table.read_image).as_numpy_iterator()]
    assert read == [b"image %d" % number for number in (0, 1, 2, 3, 4, 1)]
    assert table.read_bytes(3) == b"image 3"


def test_images_given_as_bytes_are_read_in_graph():
    rows = [Row(b"one", ("a",), 0, "i", "train"), Row(b"two", ("b",), 0, "j", "test")]
    test = RowTable.from_rows("set", rows, label_kind="image").split("test")
    data = next(iter(tf.data.Dataset.range(1).map(test.read_image)))
    assert data.shape == ()
    assert data.numpy() == b"two"


def test_a_file_that_went_away_fails_when_it_is_read(table):
    tf.io.gfile.remove(table.image_paths[0])
    with pytest.raises(tf.errors.NotFoundError):
        next(iter(tf.data.Dataset.range(1).map(table.read_image)))
    with pytest.raises(FileNotFoundError):
        table.read_bytes(0)


def test_features_are_not_images():
    table = RowTable.from_rows("set", [Row(np.ones(2), ("a",), 0, "i", "train")], label_kind="image")
    np.testing.assert_array_equal(table.features, [[1, 1]])
    with pytest.raises(UserError, match="feature vectors"):
        table.read_image(tf.constant(0, tf.int64))


def test_labelled_by_image_every_image_is_its_own_label():
    rows = [Row(b"one", ("a",), "same", "i", "train"), Row(b"two", ("b",), "same", "j", "train")]
    table = RowTable.from_rows("set", rows, label_kind="image")
    np.testing.assert_array_equal(table.labels, [0, 1])
    assert table.label_names == ["i", "j"]


def test_a_bad_row_stops_with_its_place():
    rows = [Row(b"one", ("a",), 0, "i", "train"), Row(b"two", (), 0, "j", "train")]
    with pytest.raises(UserError, match="row 2 of set: no caption; expected at least one caption"):
        RowTable.from_rows("set", rows, label_kind="class")


def test_the_fingerprint_sees_every_column_but_not_the_place(table, tmp_path):
    assert len(table.fingerprint()) == 64
    moved = RowTable.from_rows(
        "toys",
        [Row(b"x", caption, "label", "id", "train") for caption in [("caption",)]],
        label_kind="class",
    )
    seen = {table.fingerprint(), moved.fingerprint()}
    for fields in ({"label": "other"}, {"image_id": "other"}, {"split": "test"}, {"captions": ("other",)}):
        row = Row(
            b"x", **{"captions": ("caption",), "label": "label", "image_id": "id", "split": "train"} | fields
        )
        seen.add(RowTable.from_rows("toys", [row], label_kind="class").fingerprint())
    assert len(seen) == 6
    same = RowTable.from_rows("toys", [Row(b"y", ("caption",), "label", "id", "train")], label_kind="class")
    assert same.fingerprint() == moved.fingerprint()


def test_a_hundred_thousand_rows_hold_no_paths_in_the_graph(table):
    many = table.take(np.arange(100_000) % 6)

    @tf.function(input_signature=[tf.TensorSpec((), tf.int64)])
    def read(row):
        return many.read_image(row)

    assert read(tf.constant(99_998, tf.int64)).numpy() == table.read_bytes(99_998 % 6)
    assert read.get_concrete_function().graph.as_graph_def().ByteSize() < 10_000
