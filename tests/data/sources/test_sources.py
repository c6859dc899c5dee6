"""Tests of xmkeras/data/sources/__init__.py."""

from __future__ import annotations

import os

import numpy as np
import pytest

from xmkeras.data.sources import SourceOptions, load_source, source_names
from xmkeras.errors import UserError


@pytest.fixture
def options(tmp_path) -> SourceOptions:
    lines = ["image,caption,split"]
    for number in range(12):
        (tmp_path / f"{number}.png").write_bytes(b"image %d" % number)
        lines += [
            f"{number}.png,caption {number}{letter},{'test' if number % 3 == 0 else 'train'}"
            for letter in "ab"
        ]
    (tmp_path / "pairs.csv").write_text("\n".join(lines))
    return SourceOptions(data_dir=str(tmp_path / "cache"), table=str(tmp_path / "pairs.csv"))


def test_the_sources_are_the_files_of_the_folder():
    assert source_names() == [
        "coco",
        "cub",
        "cuhk_pedes",
        "features",
        "flickr30k",
        "flickr8k",
        "flowers",
        "nus_wide_10k",
        "openmoji",
        "pascal_sentence",
        "table",
        "wikipedia",
    ]


def test_an_unknown_source_lists_the_choices():
    with pytest.raises(UserError, match=r"Unknown source 'cars'; choose one of coco, cub, .*, wikipedia"):
        load_source("cars", SourceOptions())


def test_the_home_directory_is_expanded():
    assert SourceOptions().root == os.path.expanduser("~/.cache/xmkeras")


def test_a_limit_keeps_the_first_images_of_each_split(options):
    table = load_source("table", SourceOptions(**{**vars_of(options), "limit": 3}))
    assert table.image_ids == ["0.png", "1.png", "2.png", "3.png", "4.png", "6.png"]
    assert [len(captions) for captions in table.captions] == [2] * 6


def test_packed_images_are_the_same_bytes(options):
    plain = load_source("table", options)
    packed = load_source("table", SourceOptions(**{**vars_of(options), "pack": True}))
    assert packed.image_paths is None
    np.testing.assert_array_equal(packed.labels, plain.labels)
    assert [packed.read_bytes(row) for row in range(len(packed))] == [
        plain.read_bytes(row) for row in range(12)
    ]


def vars_of(options: SourceOptions) -> dict[str, object]:
    return {name: getattr(options, name) for name in options.__dataclass_fields__}
