"""Tests of xmkeras/data/sources/cub.py."""

from __future__ import annotations

import pytest

from tests.data.published_layouts import write_cub
from xmkeras.data.sources import SourceOptions
from xmkeras.data.sources.cub import load
from xmkeras.errors import UserError


@pytest.fixture
def folder(tmp_path):
    return write_cub(tmp_path)


@pytest.fixture
def options(tmp_path) -> SourceOptions:
    return SourceOptions(data_dir=str(tmp_path))


def test_the_published_layout(folder, options):
    table = load(options)
    assert (len(table), table.num_labels, table.label_kind) == (12, 4, "class")
    assert {split: len(table.split(split)) for split in table.split_names} == {"train": 6, "validation": 3, "test": 3}
    assert table.label_names == [
        "001.Black_footed_Albatross", "002.Laysan_Albatross", "003.Sooty_Albatross", "004.Groove_billed_Ani",
    ]  # fmt: skip
    assert {len(captions) for captions in table.captions} == {10}
    assert table.captions[3][7] == "this bird is bird 7 of 002.Laysan_Albatross ."
    assert table.image_ids[3] == "Laysan_Albatross_0000_3"
    image = folder / "CUB_200_2011/images/002.Laysan_Albatross/Laysan_Albatross_0000_3.jpg"
    assert table.read_bytes(3) == image.read_bytes()


def test_captions_may_lie_beside_the_images_folder(folder, options):
    for path in (folder / "cvpr2016_cub").iterdir():
        path.rename(folder / path.name)
    assert len(load(options)) == 12


def test_a_third_of_both_lists_together_is_for_validation(folder, options):
    inner = folder / "cvpr2016_cub"
    (inner / "trainvalclasses.txt").write_text(
        (inner / "trainclasses.txt").read_text() + (inner / "valclasses.txt").read_text()
    )
    (inner / "trainclasses.txt").unlink()
    (inner / "valclasses.txt").unlink()
    table = load(options)
    assert [len(table.split(split)) for split in table.split_names] == [6, 3, 3]


def test_an_image_of_the_list_without_captions_is_named(folder, options):
    lost = folder / "cvpr2016_cub/text_c10/003.Sooty_Albatross/Sooty_Albatross_0001_7.txt"
    lost.unlink()
    with pytest.raises(UserError, match=f"{lost} of an image cannot be read"):
        load(options)


def test_a_listed_image_without_file_is_named(folder, options):
    (folder / "CUB_200_2011/images/003.Sooty_Albatross/Sooty_Albatross_0001_7.jpg").unlink()
    with pytest.raises(UserError, match=r"no such image file '.*Sooty_Albatross_0001_7.jpg'"):
        load(options)


def test_a_class_without_images_and_a_broken_list_are_named(folder, options):
    listing = folder / "CUB_200_2011/images.txt"
    lines = listing.read_text().splitlines(keepends=True)
    listing.write_text("".join(lines[:9]))
    with pytest.raises(UserError, match=r"class 004\.Groove_billed_Ani .* has no image in .*images\.txt"):
        load(options)
    listing.write_text(lines[0] + "no image\n")
    with pytest.raises(UserError, match=r"images\.txt line 2: expected"):
        load(options)


def test_nothing_there_says_what_whence_where_and_what_trains_now(tmp_path, options):
    with pytest.raises(UserError) as caught:
        load(options)
    message = str(caught.value)
    for part in (
        "CUB_200_2011/images", "images.txt", "text_c10/*/*.txt", "trainclasses.txt", "testclasses.txt",
        "https://www.vision.caltech.edu/datasets/cub_200_2011/", "https://github.com/reedscot/cvpr2016",
        str(tmp_path / "cub"), "python -m xmkeras.train --flagfile=flags/cmpm_openmoji.cfg",
    ):  # fmt: skip
        assert part in message
    assert "\n" not in message


def test_no_folder_of_images_is_asked_for_where_none_is_looked_at(folder, options):
    (folder / "CUB_200_2011/images").rename(folder / "moved")
    assert len(load(SourceOptions(data_dir=options.data_dir, check_images=False))) == 12


@pytest.mark.parametrize(
    ("gone", "kept"), [("CUB_200_2011", "text_c10"), ("cvpr2016_cub/testclasses.txt", "CUB_200_2011")]
)
def test_only_what_is_missing_is_asked_for(folder, options, gone, kept):
    (folder / gone).rename(folder / "moved")
    with pytest.raises(UserError) as caught:
        load(options)
    assert gone.rpartition("/")[2] in str(caught.value)
    assert kept not in str(caught.value)


def test_without_captions_the_first_hundred_classes_are_trained(folder, tmp_path):
    listing = folder / "CUB_200_2011/images.txt"
    (folder / "CUB_200_2011/images/005.Crested_Auklet").rename(folder / "CUB_200_2011/images/101.White_Pelican")
    listing.write_text(listing.read_text().replace("005.Crested_Auklet", "101.White_Pelican"))
    (folder / "cvpr2016_cub").rename(folder / "moved")
    table = load(SourceOptions(data_dir=str(tmp_path), captions=False, validation_share=0.25))
    assert (len(table), set(table.captions)) == (15, {()})
    assert {split: len(table.split(split)) for split in table.split_names} == {"train": 6, "validation": 6, "test": 3}
    test = table.split("test")
    assert {test.label_names[label] for label in test.labels} == {"101.White_Pelican"}


def test_a_class_without_number_is_named(folder, tmp_path):
    (folder / "CUB_200_2011/images.txt").write_text("1 Pelican/a.jpg\n")
    with pytest.raises(UserError, match=r"the class 'Pelican'; expected NUMBER\.NAME"):
        load(SourceOptions(data_dir=str(tmp_path), captions=False))
