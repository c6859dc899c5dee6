"""One's own feature pairs: names of arrays, splits, faults."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from tests.data.feature_pairs import write_npz
from xmkeras.data.sources import SourceOptions, load_source
from xmkeras.errors import UserError


def load(path, **options):
    return load_source("features", SourceOptions(table=str(path), **options))


def test_npz(tmp_path):
    table = load(write_npz(tmp_path / "pairs.npz"))
    assert table.name == "pairs"
    assert [len(table.split(name)) for name in ("train", "validation", "test")] == [8, 8, 8]
    assert table.image_ids[1] == "pair1"


def test_parquet(tmp_path):
    frame = {"img": [[1.0, 2.0]] * 4, "txt": [[3.0]] * 4, "class": ["a", "b"] * 2, "split": ["train", "test"] * 2}
    pd.DataFrame(frame).to_parquet(tmp_path / "pairs.parquet")
    table = load(tmp_path / "pairs.parquet", validation_share=0.0)
    assert (table.features.shape, table.label_names) == ((4, 2), ["a", "b"])


def test_a_missing_split_is_made_and_validation_set_aside(tmp_path):
    rows = 200
    labels = np.arange(rows) % 2
    arrays = {"images": np.ones((rows, 2)), "texts": np.ones((rows, 2)), "labels": labels}
    np.savez(tmp_path / "bare.npz", **arrays)
    assert load(tmp_path / "bare.npz").split_names == ["train", "validation", "test"]
    np.savez(tmp_path / "two.npz", **arrays, split=np.repeat(["train", "test"], 100))
    assert len(load(tmp_path / "two.npz", validation_share=0.1).split("validation")) == 10


def test_captions_in_place_of_text_vectors(tmp_path):
    arrays = {"image": np.eye(3), "caption": ["a cat", "a dog", "a red cat"], "split": ["train", "train", "test"]}
    np.savez(tmp_path / "words.npz", **arrays)
    table = load(tmp_path / "words.npz", validation_share=0.0)
    assert table.text_features is None
    assert table.captions == [("a cat",), ("a dog",), ("a red cat",)]
    assert (table.label_kind, table.num_labels) == ("image", 3)
    np.testing.assert_array_equal(table.features, np.eye(3))


def test_images_with_many_captions_share_a_vector_and_a_split(tmp_path):
    images = np.arange(80.0).reshape(40, 2)
    ids = np.repeat([f"image{number}" for number in range(40)], 2)
    texts = [f"caption {number}" for number in range(80)]
    np.savez(tmp_path / "many.npz", image=images, text=texts, image_id=ids, split=["train"] * 80)
    table = load(tmp_path / "many.npz", validation_share=0.25)
    np.testing.assert_array_equal(table.features[table.image_index], np.repeat(images, 2, axis=0))
    assert len(table.split("validation")) == 20
    assert table.split("validation").num_images == 10
    assert len(load(tmp_path / "many.npz", limit=3).split("train")) == 6


def test_images_alone(tmp_path):
    np.savez(tmp_path / "alone.npz", image=np.eye(4), label=[0, 0, 1, 1])
    with pytest.raises(UserError, match="no text array"):
        load(tmp_path / "alone.npz")
    table = load(tmp_path / "alone.npz", captions=False)
    assert table.captions == [()] * 4
    assert table.num_labels == 2


def test_faults(tmp_path):
    with pytest.raises(UserError, match="--table"):
        load("")
    np.savez(tmp_path / "bare.npz", image=np.ones((2, 2)), words=np.ones((2, 2)), label=[0, 1])
    with pytest.raises(UserError, match="no text array"):
        load(tmp_path / "bare.npz")
    assert len(load(tmp_path / "bare.npz", columns={"text": "words"})) == 2
    np.savez(tmp_path / "split.npz", image=np.ones((1, 2)), text=np.ones((1, 2)), label=[0], split=["fold1"])
    with pytest.raises(UserError, match="fold1"):
        load(tmp_path / "split.npz")
