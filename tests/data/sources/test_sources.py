"""Tests of xmkeras/data/sources/__init__.py."""

from __future__ import annotations

import os

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
        "cars196",
        "coco",
        "coco_regions",
        "cub",
        "cuhk_pedes",
        "features",
        "flickr30k",
        "flickr30k_regions",
        "flickr8k",
        "flowers",
        "nus_wide_10k",
        "online_products",
        "openmoji",
        "pascal_sentence",
        "regions",
        "table",
        "wikipedia",
    ]


def test_an_unknown_source_lists_the_choices():
    with pytest.raises(UserError, match=r"'cars'; choose one of cars196, coco, coco_regions, .*, wikipedia"):
        load_source("cars", SourceOptions())


def test_the_home_directory_is_expanded():
    assert SourceOptions().root == os.path.expanduser("~/.cache/xmkeras")


def test_a_limit_keeps_the_first_images_of_each_split(options):
    table = load_source("table", SourceOptions(**{**vars_of(options), "limit": 3}))
    assert table.image_ids == ["0.png", "1.png", "2.png", "3.png", "4.png", "6.png"]
    assert [len(captions) for captions in table.captions] == [2] * 6


def test_a_run_over_images_alone_gets_no_texts(options):
    table = load_source("table", SourceOptions(**{**vars_of(options), "captions": False, "limit": 1}))
    assert table.captions == [(), ()]
    assert table.image_ids == ["0.png", "1.png"]
    assert [len(table.split(name)) for name in table.split_names] == [1, 1]


def vars_of(options: SourceOptions) -> dict[str, object]:
    return {name: getattr(options, name) for name in options.__dataclass_fields__}
