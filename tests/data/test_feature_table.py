"""Tables of feature pairs: columns, shared images, and the faults that are explained."""

from __future__ import annotations

import numpy as np
import pytest

from xmkeras.data.feature_table import feature_table, set_aside
from xmkeras.errors import UserError

COLUMNS = {
    "images": np.array([[1.0, 2.0], [1.0, 2.0], [5.0, 6.0]]),
    "texts": np.array([[1.0], [2.0], [3.0]]),
    "labels": [7, 7, 3],
    "splits": ["train", "train", "test"],
    "image_ids": ["a", "a", "b"],
    "text_ids": ["x", "y", "z"],
}


def test_rows_of_one_image_share_its_vector():
    table = feature_table("pairs", **COLUMNS, label_names={7: "seven"})
    assert table.image_index.tolist() == [0, 0, 1]
    np.testing.assert_array_equal(table.features, [[1, 2], [5, 6]])
    np.testing.assert_array_equal(table.text_features, [[1], [2], [3]])
    assert table.labels.tolist() == [0, 0, 1]
    assert table.label_names == ["seven", "3"]
    assert table.captions == [("x",), ("y",), ("z",)]
    assert table.distinct_images().tolist() == [0, 2]


def test_a_split_takes_its_text_vectors_along():
    part = feature_table("pairs", **COLUMNS).split("test")
    np.testing.assert_array_equal(part.text_features, [[3]])
    np.testing.assert_array_equal(part.features[part.image_index], [[5, 6]])


def test_the_fingerprint_sees_the_vectors():
    moved = {**COLUMNS, "texts": np.array([[1.0], [2.0], [3.5]])}
    assert feature_table("pairs", **COLUMNS).fingerprint() != feature_table("pairs", **moved).fingerprint()


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
        feature_table("pairs", **{**COLUMNS, **change})
    assert words in str(error.value)


def test_no_rows():
    with pytest.raises(UserError, match="has no rows"):
        feature_table("none", images=np.zeros((0, 2)), texts=np.zeros((0, 2)), labels=[], splits=[])


def test_set_aside_takes_the_same_share_of_every_class_and_moves_with_the_seed():
    ids = [f"row{number}" for number in range(50)]
    labels = [0] * 30 + [1] * 20
    chosen = set_aside(ids, labels, 0.1)
    assert (chosen[:30].sum(), chosen[30:].sum()) == (3, 2)
    assert not np.array_equal(chosen, set_aside(ids, labels, 0.1, seed=1))
    shuffled = np.random.default_rng(0).permutation(50)
    again = set_aside([ids[row] for row in shuffled], [labels[row] for row in shuffled], 0.1)
    assert np.array_equal(again, chosen[shuffled])
