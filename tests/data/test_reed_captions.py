"""Tests of xmkeras/data/reed_captions.py; the sources flowers and cub are tested with whole sets."""

from __future__ import annotations

import pytest

from xmkeras.data.reed_captions import class_splits, read_captions
from xmkeras.errors import UserError


def test_a_list_of_both_stands_for_training_and_validation(tmp_path):
    (tmp_path / "trainvalclasses.txt").write_text("".join(f"class_{n:05d}\n" for n in range(1, 83)))
    (tmp_path / "testclasses.txt").write_text("".join(f"class_{n:05d}\n" for n in range(83, 103)))
    splits = class_splits(str(tmp_path), 20 / 82)
    counts = {name: list(splits.values()).count(name) for name in ("train", "validation", "test")}
    assert counts == {"train": 62, "validation": 20, "test": 20}
    assert class_splits(str(tmp_path), 20 / 82) == splits
    (tmp_path / "valclasses.txt").write_text("class_00001\nclass_00002\n")
    splits = class_splits(str(tmp_path), 20 / 82)
    assert [name for name in splits if splits[name] == "validation"] == ["class_00001", "class_00002"]
    assert list(splits.values()).count("train") == 80


def test_an_empty_list_is_an_error(tmp_path):
    (tmp_path / "trainvalclasses.txt").write_text("a\nb\n")
    (tmp_path / "testclasses.txt").write_text("\n")
    with pytest.raises(UserError, match=f"list of test in {tmp_path} is empty"):
        class_splits(str(tmp_path), 0.5)


def test_captions_in_another_encoding_still_read(tmp_path):
    folder = tmp_path / "text_c10" / "a"
    folder.mkdir(parents=True)
    (folder / "one.txt").write_bytes(b"a bird \n\n caf\xe9\n")
    assert read_captions(str(tmp_path), "a", "one") == ("a bird", "caf\ufffd")
    with pytest.raises(UserError, match=r"two\.txt of an image cannot be read"):
        read_captions(str(tmp_path), "a", "two")
