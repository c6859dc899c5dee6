"""Tables of vectors: columns, shared images, and the faults that are explained."""

from __future__ import annotations

import dataclasses
import hashlib
import json

import numpy as np
import pytest

from xmkeras.data.vector_table import by_image, set_aside, vector_table, with_validation
from xmkeras.errors import UserError

COLUMNS = {
    "images": np.array([[1.0, 2.0], [1.0, 2.0], [5.0, 6.0]]),
    "texts": np.array([[1.0], [2.0], [3.0]]),
    "labels": [7, 7, 3],
    "splits": ["train", "train", "test"],
    "image_ids": ["a", "a", "b"],
    "captions": ["x", "y", "z"],
}


def test_rows_of_one_image_share_its_vector():
    table = vector_table("pairs", **COLUMNS, label_names={7: "seven"})
    assert table.image_index.tolist() == [0, 0, 1]
    np.testing.assert_array_equal(table.features, [[1, 2], [5, 6]])
    np.testing.assert_array_equal(table.text_features, [[1], [2], [3]])
    assert table.labels.tolist() == [0, 0, 1]
    assert table.label_names == ["seven", "3"]
    assert table.captions == [("x",), ("y",), ("z",)]
    assert table.distinct_images().tolist() == [0, 2]


def test_a_split_takes_its_text_vectors_along():
    part = vector_table("pairs", **COLUMNS).split("test")
    np.testing.assert_array_equal(part.text_features[part.text_index], [[3]])
    np.testing.assert_array_equal(part.features[part.image_index], [[5, 6]])


def test_the_fingerprint_sees_the_vectors():
    moved = {**COLUMNS, "texts": np.array([[1.0], [2.0], [3.5]])}
    assert vector_table("pairs", **COLUMNS).fingerprint() != vector_table("pairs", **moved).fingerprint()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"labels": [1, 2]}, "2 labels"),
        ({"texts": np.array([[1.0], [np.nan], [3.0]])}, "row 2"),
        ({"images": np.zeros(3)}, "shape (3,)"),
        ({"splits": ["train", "train", "dev"]}, "'dev'"),
        ({"images": np.array([[1.0, 2.0], [1.0, 3.0], [5.0, 6.0]])}, "another image vector than row 1"),
        ({"labels": [7, 8, 3]}, "another label than row 1"),
        ({"splits": ["train", "test", "test"]}, "another split than row 1"),
    ],
)
def test_faults_name_the_row(change, words):
    with pytest.raises(UserError) as error:
        vector_table("pairs", **{**COLUMNS, **change})
    assert words in str(error.value)


def test_no_rows():
    with pytest.raises(UserError, match="has no rows"):
        vector_table("none", images=np.zeros((0, 2)), texts=np.zeros((0, 2)), labels=[], splits=[])


def test_words_in_place_of_text_vectors_and_every_image_its_own_label():
    table = vector_table("words", **{**COLUMNS, "texts": None, "labels": None})
    assert table.text_features is None
    assert table.captions == [("x",), ("y",), ("z",)]
    assert (table.label_kind, table.labels.tolist(), table.label_names) == ("image", [0, 0, 1], ["a", "b"])


def test_images_alone():
    table = vector_table("alone", images=np.eye(3), splits=["train", "train", "test"], labels=[1, 2, 1])
    assert table.captions == [(), (), ()]
    assert len(table.split("train")) == 2


@pytest.mark.parametrize("kept", [np.float16, np.float32])
def test_one_vector_an_image_is_used_as_it_lies(tmp_path, kept):
    np.save(tmp_path / "v.npy", np.array([[1.0, 2.0], [5.0, 6.0]], kept))
    vectors = np.load(tmp_path / "v.npy", mmap_mode="r")
    table = vector_table("mapped", **{**COLUMNS, "images": vectors})
    assert table.features is vectors
    np.testing.assert_array_equal(table.features[table.image_index], [[1, 2], [1, 2], [5, 6]])
    assert table.split("test").features is vectors


def test_the_fingerprint_is_that_of_a_vector_a_row_in_float32():
    index = [0, 0, 1]
    whole = vector_table("pairs", **{**COLUMNS, "images": COLUMNS["images"].astype(np.float16)})
    assert whole.fingerprint() == vector_table("pairs", **COLUMNS).fingerprint()
    bare = dataclasses.replace(whole, features=None, text_features=None)
    digest = hashlib.sha256(json.dumps(["pairs", "class"]).encode())
    for row in range(3):
        entries = (whole.image_ids[row], whole.captions[row], ["7", "7", "3"][row], COLUMNS["splits"][row], "")
        digest.update(json.dumps(entries).encode())
    assert bare.fingerprint() == digest.hexdigest()
    images, texts = np.float32(COLUMNS["images"][[0, 2]][index]), np.float32(COLUMNS["texts"])
    digest.update(images.tobytes() + texts.tobytes())
    assert whole.fingerprint() == digest.hexdigest()


def test_vectors_of_neither_the_rows_nor_the_images_are_refused():
    with pytest.raises(UserError, match="has 4 image vectors for 3 rows of 2 distinct images"):
        by_image("pairs", np.zeros((4, 2)), np.array([0, 0, 1]))


def test_validation_takes_whole_images_of_every_class_where_there_is_none():
    ids = [f"image{number // 2}" for number in range(40)]
    labels = [number // 20 for number in range(40)]
    splits = ["train"] * 40
    chosen = with_validation("pairs", splits, ids, labels, 0.2)
    assert [chosen[:20].count("validation"), chosen[20:].count("validation")] == [4, 4]
    assert chosen[::2] == chosen[1::2]
    assert with_validation("pairs", ["train", "validation", "test"], ids[:3], None, 0.5)[0] == "train"
    assert with_validation("pairs", splits, ids, labels, 0.0) == splits
    with pytest.raises(UserError, match="2 splits, 3 ids, 3 labels"):
        with_validation("pairs", ["train", "test"], ids[:3], None, 0.5)


def test_set_aside_takes_the_same_share_of_every_class_and_moves_with_the_seed():
    ids = [f"row{number}" for number in range(50)]
    labels = [0] * 30 + [1] * 20
    chosen = set_aside(ids, labels, 0.1)
    assert (chosen[:30].sum(), chosen[30:].sum()) == (3, 2)
    assert not np.array_equal(chosen, set_aside(ids, labels, 0.1, seed=1))
    shuffled = np.random.default_rng(0).permutation(50)
    again = set_aside([ids[row] for row in shuffled], [labels[row] for row in shuffled], 0.1)
    assert np.array_equal(again, chosen[shuffled])
