"""Tests of xmkeras/data/sources/cars196.py."""

from __future__ import annotations

import pytest

from tests.data.published_layouts import write_cars
from xmkeras.data.sources import SourceOptions
from xmkeras.data.sources.cars196 import load
from xmkeras.errors import UserError


@pytest.fixture
def options(tmp_path) -> SourceOptions:
    return SourceOptions(data_dir=str(tmp_path), captions=False, validation_share=0.0)


def test_the_published_layout(tmp_path, options):
    folder = write_cars(tmp_path)
    table = load(options)
    assert (len(table), table.num_labels, table.label_kind, table.split_names) == (10, 5, "class", ["train", "test"])
    assert [len(table.split(split)) for split in table.split_names] == [6, 4]
    assert table.label_names == ["001", "002", "098", "099", "196"]
    assert table.image_ids[2] == "000003"
    assert table.read_bytes(2) == (folder / "car_ims/000003.jpg").read_bytes()


def test_classes_are_held_out_for_validation(tmp_path):
    write_cars(tmp_path, tuple(range(1, 99)))
    table = load(SourceOptions(data_dir=str(tmp_path), captions=False, validation_share=0.1))
    assert [len(set(table.split(split).labels)) for split in ("train", "validation")] == [88, 10]


def test_what_is_missing_is_said(tmp_path, options):
    with pytest.raises(UserError) as caught:
        load(options)
    for part in ("car_ims/*.jpg", "cars_annos.mat", "https://ai.stanford.edu", str(tmp_path / "cars196")):
        assert part in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_broken_list_and_an_unknown_class_are_named(tmp_path, options):
    folder = write_cars(tmp_path, (1, 197))
    with pytest.raises(UserError, match=r"class 197 of car_ims/000003\.jpg; expected 1 to 196"):
        load(options)
    (folder / "cars_annos.mat").write_bytes(b"nothing")
    with pytest.raises(UserError, match=r"cars_annos\.mat cannot be read as the list of Cars-196"):
        load(options)
