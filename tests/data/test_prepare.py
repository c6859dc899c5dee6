"""Tests of xmkeras/data/prepare.py."""

from __future__ import annotations

import concurrent.futures
import dataclasses
import pickle

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds

from xmkeras.data.prepare import pack
from xmkeras.data.rows import Row, RowTable
from xmkeras.errors import UserError

IMAGES = [tf.io.encode_png(np.full((4, 5, 3), 10 * number, np.uint8)).numpy() for number in range(20)]


def make_table(caption: str = "caption") -> RowTable:
    rows = []
    for number, data in enumerate(IMAGES):
        split = ("train", "test", "train", "validation")[number % 4]
        row = Row(data, (f"{caption} {number}", "more"), number % 3, f"id{number}", split, "squares")
        rows += [row, dataclasses.replace(row, captions=("again",))] if number == 6 else [row]
    return RowTable.from_rows("My Set", rows, label_kind="class", credit="by someone")


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> str:
    return str(tmp_path_factory.mktemp("root"))


@pytest.fixture(scope="module")
def packed(root) -> RowTable:
    return pack(make_table(), root)


def test_every_row_reads_the_bytes_it_had(packed):
    table = make_table()
    assert [packed.read_bytes(row) for row in range(21)] == [table.read_bytes(row) for row in range(21)]
    assert packed.fingerprint() == table.fingerprint()


def test_splits_read_in_graph_and_in_parallel(packed):
    test, plain = packed.split("test"), make_table().split("test")
    read = tf.data.Dataset.range(len(test)).map(test.read_image, num_parallel_calls=4)
    assert [*read.as_numpy_iterator()] == [plain.read_bytes(row) for row in range(len(plain))]
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        assert len(set(pool.map(packed.read_bytes, range(21)))) == 20


def test_tensorflow_datasets_reads_the_shards_with_their_features(packed):
    builder = tfds.builder_from_directory(packed.encoded.folder)
    assert builder.info.splits["train"].num_examples == 10
    assert builder.info.features["label"].names == ["0", "1", "2"]
    records = list(builder.as_data_source("train"))
    assert [record["image_id"].decode() for record in records] == [
        f"id{number}" for number in range(0, 20, 2)
    ]
    assert [caption.decode() for caption in records[3]["captions"]] == ["caption 6", "more", "again"]
    np.testing.assert_array_equal(records[1]["image"], np.full((4, 5, 3), 20))


def test_the_second_time_nothing_is_written(packed, root, monkeypatch):
    monkeypatch.setattr("xmkeras.data.prepare.RowsBuilder._generate_examples", None)
    assert pack(make_table(), root).read_bytes(0) == IMAGES[0]


def test_changed_captions_make_a_new_pack(packed, root):
    other = pack(make_table("other"), root)
    assert other.encoded.folder != packed.encoded.folder


def test_changed_image_files_make_a_new_pack(tmp_path):
    path = tmp_path / "a.png"
    reads = []
    for data in IMAGES[1:3]:
        path.write_bytes(data + b"\0" * len(reads))
        table = RowTable.from_rows("set", [Row(str(path), ("a",), 0, "a", "train")], label_kind="image")
        reads.append(pack(table, str(tmp_path)).read_bytes(0))
    assert reads == [IMAGES[1], IMAGES[2] + b"\0"]


def test_packed_images_survive_pickling(packed):
    again = pickle.loads(pickle.dumps(packed.encoded))
    assert again[5] == IMAGES[5]
    assert len(again) == 20


def test_a_record_of_another_image_is_an_error(packed):
    wrong = pickle.loads(pickle.dumps(packed.encoded))
    wrong.image_ids[0] = "id99"
    with pytest.raises(OSError, match="record 0 of train is not image 'id99'"):
        wrong[0]


def test_features_cannot_be_packed(root):
    table = RowTable.from_rows("set", [Row(np.ones(2), ("a",), 0, "a", "train")], label_kind="image")
    with pytest.raises(UserError, match="feature vectors"):
        pack(table, root)
