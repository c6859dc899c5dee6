"""Tests of xmkeras/data/sources/online_products.py."""

from __future__ import annotations

import pytest

from tests.data.published_layouts import write_online_products
from xmkeras.data.sources import SourceOptions
from xmkeras.data.sources.online_products import load
from xmkeras.errors import UserError


@pytest.fixture
def options(tmp_path) -> SourceOptions:
    return SourceOptions(data_dir=str(tmp_path), captions=False, validation_share=0.5)


def test_the_published_layout(tmp_path, options):
    folder = write_online_products(tmp_path)
    table = load(options)
    assert (len(table), table.num_labels, table.label_kind) == (12, 6, "class")
    assert {split: len(table.split(split)) for split in table.split_names} == {"train": 4, "validation": 4, "test": 4}
    assert set(table.label_names) == {"1", "2", "3", "4", "11319", "11320"}
    assert set(table.categories) == {"bicycle", "chair"}
    assert table.read_bytes(0) == (folder / "chair_final/101_0.JPG").read_bytes()


def test_what_is_missing_is_said(tmp_path, options):
    write_online_products(tmp_path)
    (tmp_path / "Stanford_Online_Products/Ebay_test.txt").unlink()
    with pytest.raises(UserError, match=r"put Ebay_test\.txt with the folders \*_final .* into .*_Products") as caught:
        load(options)
    assert "\n" not in str(caught.value)


def test_a_broken_line_is_named(tmp_path, options):
    listing = write_online_products(tmp_path) / "Ebay_train.txt"
    listing.write_text("image_id class_id super_class_id path\n1 2 3\n")
    with pytest.raises(UserError, match=r"Ebay_train\.txt line 2: expected an image number"):
        load(options)
