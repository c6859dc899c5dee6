"""Folders of matrices: splits, labels, and the two published sets that come so."""

from __future__ import annotations

import numpy as np
import pytest

from tests.data.feature_pairs import write_folder
from xmkeras.data.sources import SourceOptions, load_source
from xmkeras.errors import UserError


@pytest.mark.parametrize("name", ["pascal_sentence", "nus_wide_10k"])
@pytest.mark.parametrize("one_hot", [False, True])
def test_files_decide_the_split(name, one_hot, tmp_path):
    write_folder(tmp_path, name, {"train": 16, "val": 4, "test": 8}, one_hot=one_hot)
    table = load_source(name, SourceOptions(data_dir=str(tmp_path)))
    assert [len(table.split(split)) for split in ("train", "validation", "test")] == [16, 4, 8]
    assert table.labels.tolist() == [row % 4 for rows in (16, 4, 8) for row in range(rows)]


def test_without_validation_a_share_of_training_is_set_aside(tmp_path):
    write_folder(tmp_path, "pascal_sentence", {"train": 40, "test": 8})
    table = load_source("pascal_sentence", SourceOptions(data_dir=str(tmp_path), validation_share=0.1))
    assert np.bincount(table.split("validation").labels).tolist() == [1, 1, 1, 1]


def test_another_text_feature(tmp_path):
    folder = write_folder(tmp_path, "nus_wide_10k", {"train": 8, "test": 4})
    for split, rows in (("train", 8), ("test", 4)):
        np.save(folder / f"{split}_bow.npy", np.ones((rows, 11)))
    table = load_source("nus_wide_10k", SourceOptions(data_dir=str(tmp_path), text_features="bow"))
    assert table.text_features.shape == (12, 11)


def test_faults(tmp_path):
    with pytest.raises(UserError, match=r"train_img.mat.*http"):
        load_source("pascal_sentence", SourceOptions(data_dir=str(tmp_path)))
    folder = write_folder(tmp_path, "pascal_sentence", {"train": 8, "test": 4})
    (folder / "test_txt.mat").unlink()
    with pytest.raises(UserError, match=r"lacks test_txt.mat"):
        load_source("pascal_sentence", SourceOptions(data_dir=str(tmp_path)))
