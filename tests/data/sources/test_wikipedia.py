"""The Wikipedia set: lists, features, split rules, and the real files."""

from __future__ import annotations

import collections

import numpy as np
import pytest

from tests.data.feature_pairs import write_wikipedia
from xmkeras.data.sources import SourceOptions, load_source
from xmkeras.errors import UserError


def load(root, **options):
    return load_source("wikipedia", SourceOptions(data_dir=str(root), **options))


def counts(table):
    return dict(collections.Counter(table.splits.tolist()))


def test_rows_follow_the_lists(tmp_path):
    write_wikipedia(tmp_path)
    table = load(tmp_path)
    assert counts(table) == {"train": 27, "validation": 3, "test": 12}
    assert table.label_names == ["class0", "class1", "class2"]
    assert table.image_ids[30] == "imagete0"
    assert table.captions[30] == ("textte0",)
    assert (table.features.shape, table.text_features.shape) == ((42, 8), (42, 6))
    validation = table.split("validation")
    assert sorted(validation.labels.tolist()) == [0, 1, 2]


def test_split_rules(tmp_path):
    write_wikipedia(tmp_path)
    assert counts(load(tmp_path, validation_share=0.0)) == {"train": 30, "test": 12}
    assert counts(load(tmp_path, split_rule="daml")) == {"train": 30, "validation": 4, "test": 8}
    with pytest.raises(UserError, match="published, daml, daml_table"):
        load(tmp_path, split_rule="mine")


def test_words_and_own_features(tmp_path):
    folder = write_wikipedia(tmp_path)
    assert load(tmp_path, text_features="tfidf").text_features.shape == (42, 9)
    deep = np.arange(42 * 3.0).reshape(42, 3)
    np.save(folder / "deep.npy", deep)
    np.testing.assert_array_equal(load(tmp_path, image_features="deep.npy").features, deep)
    np.savez(tmp_path / "parts.npz", a=deep[:30], b=deep[30:], c=deep)
    named = load(tmp_path, image_features=f"{tmp_path / 'parts.npz'}:a,b")
    np.testing.assert_array_equal(named.features, deep)
    np.savez(tmp_path / "two.npz", te=deep[30:], tr=deep[:30])
    np.testing.assert_array_equal(load(tmp_path, image_features=str(tmp_path / "two.npz")).features, deep)


def test_faults(tmp_path):
    with pytest.raises(UserError) as error:
        load(tmp_path)
    for word in ("http", str(tmp_path), "raw_features.mat", "cmpm_openmoji"):
        assert word in str(error.value)
    folder = write_wikipedia(tmp_path)
    np.save(folder / "short.npy", np.zeros((41, 2)))
    with pytest.raises(UserError, match="42 rows of the lists"):
        load(tmp_path, image_features="short.npy")
    with pytest.raises(UserError, match="none of sift"):
        load(tmp_path, image_features="vgg")
    with open(folder / "trainset_txt_img_cat.list", "a") as file:
        file.write("only one field\n")
    with pytest.raises(UserError, match="line 31"):
        load(tmp_path)


def test_the_real_set(shared):
    table = load(shared / "data")
    assert counts(table) == {"train": 1956, "validation": 217, "test": 693}
    assert counts(load(shared / "data", split_rule="daml")) == {"train": 2173, "validation": 231, "test": 462}
    paper = counts(load(shared / "data", split_rule="daml_table"))
    assert (paper["train"] + paper["validation"], paper["test"]) == (1300, 1566)
    assert table.num_labels == 10
    assert load(shared / "data", text_features="tfidf").text_features.shape == (2866, 1000)
