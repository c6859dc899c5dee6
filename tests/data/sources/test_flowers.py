"""Tests of xmkeras/data/sources/flowers.py."""

from __future__ import annotations

import dataclasses
import pathlib

import numpy as np
import pytest
import scipy.io
import tensorflow_datasets as tfds

from tests.data.flowers_layout import write_flowers
from tests.data.published_layouts import write_picture
from xmkeras.data.sources import SourceOptions
from xmkeras.data.sources.flowers import download, load
from xmkeras.errors import UserError


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return write_flowers(tmp_path)


@pytest.fixture
def options(tmp_path) -> SourceOptions:
    return SourceOptions(data_dir=str(tmp_path))


def test_the_published_layout(folder, options):
    table = load(options)
    assert (len(table), table.num_labels, table.label_kind) == (32, 8, "class")
    assert {len(captions) for captions in table.captions} == {10}
    assert {split: len(table.split(split)) for split in table.split_names} == {
        "train": 16,
        "validation": 8,
        "test": 8,
    }
    assert table.split("train").num_labels == 4
    assert table.image_ids[0] == "image_00001"
    assert table.label_names[table.labels[0]] == "class_00001"
    assert table.read_bytes(0) == (folder / "jpg/image_00001.jpg").read_bytes()


def test_splits_have_different_classes(folder, options):
    table = load(options)
    classes = [set(table.split(split).labels.tolist()) for split in table.split_names]
    assert sum(map(len, classes)) == len(set.union(*classes))


def test_captions_may_lie_in_the_folder_of_their_archive(folder, options):
    inner = folder / "cvpr2016_flowers"
    inner.mkdir()
    for name in ("text_c10", "trainclasses.txt", "valclasses.txt", "testclasses.txt"):
        (folder / name).rename(inner / name)
    assert len(load(options)) == 32


def test_a_class_in_two_lists_is_an_error(folder, options):
    with open(folder / "testclasses.txt", "a") as file:
        file.write("class_00001\n")
    with pytest.raises(UserError, match="class_00001 is in the lists of train and test"):
        load(options)


def test_an_image_without_file_is_named(folder, options):
    (folder / "jpg/image_00005.jpg").unlink()
    with pytest.raises(UserError, match=r"no such image file '.*image_00005.jpg'"):
        load(options)
    assert len(load(SourceOptions(data_dir=options.data_dir, check_images=False))) == 32


def test_a_class_without_captions_is_named(folder, options):
    with open(folder / "testclasses.txt", "a") as file:
        file.write("class_00099\n")
    with pytest.raises(UserError, match="class class_00099 of the class lists has no folder"):
        load(options)


def test_nothing_there_says_what_whence_where_and_what_trains_now(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    with pytest.raises(UserError) as caught:
        load(SourceOptions(data_dir=str(tmp_path)))
    message = str(caught.value)
    for part in (
        "jpg/image_*.jpg", "text_c10/class_*/image_*.txt", "trainclasses.txt", "testclasses.txt",
        "https://www.robots.ox.ac.uk/~vgg/data/flowers/102/", "https://github.com/reedscot/cvpr2016",
        str(tmp_path / "flowers"), "python -m xmkeras.train --flagfile=flags/cmpm_openmoji.cfg",
    ):  # fmt: skip
        assert part in message
    assert "\n" not in message


def test_no_folder_of_images_is_asked_for_where_none_is_looked_at(folder, options):
    (folder / "jpg").rename(folder / "moved")
    assert len(load(SourceOptions(data_dir=options.data_dir, check_images=False))) == 32


@pytest.mark.parametrize(
    ("gone", "kept"), [("jpg", "text_c10"), ("text_c10", "jpg/"), ("testclasses.txt", "jpg/")]
)
def test_only_what_is_missing_is_asked_for(folder, options, gone, kept):
    (folder / gone).rename(folder / "moved")
    with pytest.raises(UserError) as caught:
        load(options)
    assert gone in str(caught.value)
    assert kept not in str(caught.value)


@pytest.fixture
def alone(tmp_path) -> SourceOptions:
    """Three images each of classes 1 to 10, 51, 52 and 102, in the published layout without Reed's captions."""
    folder = tmp_path / "oxford_flowers"
    labels = np.repeat([*range(1, 11), 51, 52, 102], 3)
    for number in range(1, len(labels) + 1):
        write_picture(folder / "jpg" / f"image_{number:05d}.jpg", number)
    scipy.io.savemat(folder / "imagelabels.mat", {"labels": labels[None].astype(np.uint8)})
    return SourceOptions(data_dir=str(tmp_path), captions=False, validation_share=0.2)


def test_without_captions_half_of_the_classes_are_never_trained(alone):
    table = load(alone)
    assert (len(table), table.label_kind, set(table.captions)) == (39, "class", {()})
    of_split = {name: {table.label_names[label] for label in table.split(name).labels} for name in table.split_names}
    assert of_split["test"] == {"class_00052", "class_00102"}
    assert of_split["validation"]
    assert "class_00051" in of_split["train"] | of_split["validation"]
    assert not of_split["train"] & of_split["validation"]
    assert table.image_ids[38] == "image_00039"
    whole = load(dataclasses.replace(alone, validation_share=0.0))
    assert whole.split_names == ["train", "test"]


def test_without_captions_the_labels_are_asked_for_and_the_captions_are_not(alone, tmp_path):
    (tmp_path / "oxford_flowers" / "imagelabels.mat").unlink()
    with pytest.raises(UserError, match=r"put the labels imagelabels\.mat \(from https://.*oxford_flowers") as caught:
        load(alone)
    assert "text_c10" not in str(caught.value)


def test_a_label_that_no_flower_has_is_named(alone, tmp_path):
    path = tmp_path / "oxford_flowers" / "imagelabels.mat"
    scipy.io.savemat(path, {"labels": np.array([[1, 103]], np.uint8)})
    with pytest.raises(UserError, match="label 103 of image 2; expected 1 to 102"):
        load(alone)


def test_the_real_flowers_are_split_as_in_the_paper(shared):
    table = load(SourceOptions(data_dir=str(shared / "data"), captions=False))
    counts = {name: len(table.split(name)) for name in table.split_names}
    assert (counts["train"] + counts["validation"], counts["test"]) == (3493, 4696)
    assert len(set(table.split("validation").labels)) == 5
    assert table.split("train").num_labels == 46


class PreparedBuilder(tfds.dataset_builders.AdhocBuilder, skip_registration=True):
    code_path = pathlib.Path(__file__)  # tensorflow-datasets finds it by a package that it does not install


def test_images_are_taken_from_a_prepared_set(folder, options, tmp_path):
    images = sorted((folder / "jpg").iterdir())
    PreparedBuilder(
        name="oxford_flowers102",
        version="2.1.1",
        features=tfds.features.FeaturesDict(
            {"image": tfds.features.Image(), "file_name": tfds.features.Text()}
        ),
        split_datasets={"train": [(n, {"image": str(p), "file_name": p.name}) for n, p in enumerate(images)]},
        data_dir=str(tmp_path),
    ).download_and_prepare()
    before = {path.name: path.read_bytes() for path in images}
    (folder / "jpg").rename(folder / "moved")
    assert len(load(options)) == 32
    assert {path.name: path.read_bytes() for path in (folder / "jpg").iterdir()} == before


def test_an_archive_that_is_not_the_published_one_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    (tmp_path / "flowers").mkdir()
    (tmp_path / "flowers" / "102flowers.tgz").write_bytes(b"not it")
    with pytest.raises(UserError, match=r"Cannot fetch https://.*102flowers.tgz"):
        download(SourceOptions(data_dir=str(tmp_path)))
    assert not (tmp_path / "flowers" / "jpg").exists()
