"""Readers: what each gives, by row and by caption, from memory and from mapped files, and what is broken."""

from __future__ import annotations

import pathlib

import numpy as np
import pytest
import tensorflow as tf

from tests.data.toy_pictures import BROKEN, COUNT, SIZE, TOKENIZER, rows
from xmkeras.data import readers
from xmkeras.data.readers import Items
from xmkeras.data.rows import Row, RowTable

PAIRS = np.array([3, 3, 0, 19]), np.array([0, 1, 7, 0])  # the picture of row 0 has one caption, so its seventh is that


@pytest.fixture(scope="module")
def table() -> RowTable:
    return RowTable.from_rows("toy", rows(None), label_kind="class")


def read(reader: readers.Reader, pairs: tuple[np.ndarray, np.ndarray] = PAIRS) -> dict[str, np.ndarray]:
    """Inside a graph, as a pipeline reads."""
    given = tf.function(lambda r, c: reader.read(r, c, tf.range(100, 104, dtype=tf.int64)), autograph=False)
    return {name: value.numpy() for name, value in given(*map(tf.constant, pairs)).items()}


def test_sentences_count_round_their_rows_captions(table):
    expected = ["a picture 3", "an image 3", "a picture 0", "a picture 19"]
    np.testing.assert_array_equal(read(readers.Sentences(table, TOKENIZER))["text"], TOKENIZER(expected))


def test_equal_captions_are_one_item_where_asked():
    same = [Row(b"x", (text, "b"), 0, str(number), "train") for number, text in enumerate(["a", "b", "a"])]
    table = RowTable.from_rows("same", same, label_kind="class")
    items = Items.texts(table, distinct=True)
    assert (items.rows.tolist(), items.captions.tolist()) == ([0, 0], [0, 1])
    assert items.at(np.array([0, 0, 1, 1, 2, 2]), np.array([0, 1, 0, 1, 0, 1])).tolist() == [0, 1, 1, 1, 0, 1]
    found = items.find(tf.constant([1, 2], tf.int64), tf.constant([0, 2], tf.int64))
    assert found.numpy().tolist() == [1, 0]


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_a_mapped_file_is_gathered_from_where_it_lies(table, tmp_path: pathlib.Path, dtype):
    regions = np.random.default_rng(0).normal(size=(COUNT, 5, 4)).astype(dtype)
    np.save(tmp_path / "regions.npy", regions)
    mapped = np.load(tmp_path / "regions.npy", mmap_mode="r")
    reader = readers.Vectors("image_regions", mapped, Items.images(table))
    np.testing.assert_array_equal(read(reader)["image_regions"], regions[PAIRS[0]].astype(np.float32))
    # The file is what is read, not a copy of it: what changes there shows.
    writable = np.load(tmp_path / "regions.npy", mmap_mode="r+")
    writable[19] = 7
    writable.flush()
    assert (read(reader)["image_regions"][3] == 7).all()


@pytest.mark.parametrize("width", [3, 8])
def test_a_part_of_a_mapped_file_is_read_too(table, tmp_path: pathlib.Path, width):
    # Rows of 64 bytes keep the part aligned, those of 24 do not.
    np.save(tmp_path / "vectors.npy", np.arange(1.0 * width * (COUNT + 1)).reshape(-1, width))
    part = np.load(tmp_path / "vectors.npy", mmap_mode="r")[1:]
    given = read(readers.Vectors("image_features", part, Items.images(table)))["image_features"]
    np.testing.assert_array_equal(given, part[PAIRS[0]].astype(np.float32))


def test_vectors_of_texts_go_by_caption(table):
    items = Items.texts(table)
    vectors = np.arange(2.0 * len(items)).reshape(-1, 2)
    places = [int(np.flatnonzero((items.rows == row) & (items.captions == at))[0]) for row, at in
              [(3, 0), (3, 1), (0, 0), (19, 0)]]  # fmt: skip
    given = read(readers.Vectors("text_features", vectors, items))["text_features"]
    np.testing.assert_array_equal(given, vectors[places])


def test_token_vectors_are_padded_to_a_multiple(table):
    items = Items.texts(table)
    counts = 1 + np.arange(len(items)) % 11
    starts = np.concatenate([[0], np.cumsum(counts)])
    values = np.random.default_rng(0).normal(size=(starts[-1], 3)).astype(np.float32)
    given = read(readers.TokenVectors(("text_tokens", "text_mask"), values, starts, items))
    vectors, mask = given["text_tokens"], given["text_mask"]
    assert vectors.shape[1] % readers.PAD_TO_MULTIPLE == 0
    for number, (row, caption) in enumerate([(3, 0), (3, 1), (0, 0), (19, 0)]):
        item = int(items.at(row, caption))
        own = values[starts[item] : starts[item + 1]]
        assert mask[number].sum() == len(own)
        np.testing.assert_array_equal(vectors[number][mask[number]], own)
        assert not vectors[number][~mask[number]].any()


def test_faults(table):
    pictures = readers.Pictures(table, SIZE)
    assert [row for row in range(COUNT) if pictures.fault(row)] == list(BROKEN)
    assert pictures.present(Items.images(table)).all()
    features = np.zeros((COUNT, 3), np.float32)
    features[4] = np.nan
    items = Items.images(table)
    vectors = readers.Vectors("image_features", features, items)
    assert "could not be read" in vectors.fault(4)
    assert not vectors.fault(5)
    assert np.flatnonzero(~vectors.present(items)).tolist() == [4]
    with pytest.raises(tf.errors.InvalidArgumentError, match="broken input"):
        read(vectors, (np.array([4, 1, 2, 3]), np.zeros(4, np.int64)))


def test_the_fault_of_a_text_file_is_told_in_words(tmp_path):
    (tmp_path / "a.png").write_text("no image at all")
    table = RowTable.from_rows("set", [Row(str(tmp_path / "a.png"), ("x",), 0, "a", "train")], label_kind="image")
    assert readers.Pictures(table, (8, 8)).fault(0).startswith("These bytes are no PNG")
