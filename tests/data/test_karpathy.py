"""Tests of xmkeras/data/karpathy.py through the sources that read it: flickr30k, flickr8k and coco."""

from __future__ import annotations

import dataclasses
import json

import pytest

from tests.data.published_layouts import write_karpathy
from xmkeras.data.sources import SourceOptions, load_source
from xmkeras.errors import UserError

FLICKR = {"train": ["1000092795.jpg", "10002456.jpg"], "val": ["1018148011.jpg"], "test": ["1007129816.jpg"]}
COCO = {
    "restval": ["val2014/COCO_val2014_000000522418.jpg"],
    "train": ["train2014/COCO_train2014_000000057870.jpg"],
    "val": ["val2014/COCO_val2014_000000184613.jpg"],
    "test": ["val2014/COCO_val2014_000000391895.jpg"],
}
FOLDERS = {"flickr30k": "flickr30k-images", "flickr8k": "Flicker8k_Dataset"}


@pytest.fixture
def options(tmp_path) -> SourceOptions:
    return SourceOptions(data_dir=str(tmp_path))


@pytest.mark.parametrize("name", FOLDERS)
def test_flickr_as_published(tmp_path, options, name):
    folder = write_karpathy(tmp_path, name, FLICKR, images=FOLDERS[name])
    table = load_source(name, options)
    assert (table.name, len(table), table.num_labels, table.label_kind) == (name, 4, 4, "image")
    assert table.splits.tolist() == ["train", "train", "validation", "test"]
    assert table.captions[0] == ("A dog, 0.", "A dog, 1.", "A dog, 2.", "A dog, 3.", "A dog, 4.")
    assert table.image_ids[2] == "1018148011"
    assert table.read_bytes(2) == (folder / FOLDERS[name] / "1018148011.jpg").read_bytes()


def test_coco_as_published(tmp_path, options):
    folder = write_karpathy(tmp_path, "coco", COCO, filepath=True)
    table = load_source("coco", options)
    assert (len(table), table.num_labels, table.label_kind) == (4, 4, "image")
    assert table.splits.tolist() == ["train", "train", "validation", "test"]
    assert table.read_bytes(0) == (folder / "val2014/COCO_val2014_000000522418.jpg").read_bytes()
    assert table.read_bytes(1) == (folder / "train2014/COCO_train2014_000000057870.jpg").read_bytes()


def test_images_may_lie_elsewhere(tmp_path):
    write_karpathy(tmp_path, "flickr30k", FLICKR, images="flickr30k-images")
    (tmp_path / "flickr30k/flickr30k-images").rename(tmp_path / "photographs")
    options = SourceOptions(data_dir=str(tmp_path), image_root=str(tmp_path / "photographs"))
    assert len(load_source("flickr30k", options)) == 4


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"split": "other"}, "image 2: unknown split 'other'"),
        ({"filename": None}, "image 2: expected a filename"),
        ({"sentences": [{"tokens": []}]}, "image 2: expected a filename"),
        ({"sentences": []}, "image 2: no caption"),
        ({"filename": "gone.jpg"}, "image 2: no such image file '.*gone.jpg'"),
    ],
)
def test_a_broken_record_is_named(tmp_path, options, change, sentence):
    path = write_karpathy(tmp_path, "flickr30k", FLICKR, images="flickr30k-images") / "dataset_flickr30k.json"
    document = json.loads(path.read_text())
    document["images"][1] |= change
    path.write_text(json.dumps(document))
    with pytest.raises(UserError, match=rf"dataset_flickr30k\.json {sentence}"):
        load_source("flickr30k", options)


@pytest.mark.parametrize(("text", "sentence"), [("{", "cannot be read as JSON"), ("[]", 'has no list "images"')])
def test_another_file_is_one_sentence(tmp_path, options, text, sentence):
    path = write_karpathy(tmp_path, "flickr30k", FLICKR, images="flickr30k-images") / "dataset_flickr30k.json"
    path.write_text(text)
    with pytest.raises(UserError, match=sentence):
        load_source("flickr30k", options)


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("flickr30k", ("flickr30k-images/*.jpg", "https://shannon.cs.illinois.edu/DenotationGraph/")),
        ("flickr8k", ("Flicker8k_Dataset/*.jpg", "https://hockenmaier.cs.illinois.edu/8k-pictures.html")),
        ("coco", ("train2014/*.jpg and val2014/*.jpg", "https://cocodataset.org/#download")),
    ],
)
def test_nothing_there_says_what_whence_where_and_what_trains_now(tmp_path, options, name, parts):
    with pytest.raises(UserError) as caught:
        load_source(name, options)
    message = str(caught.value)
    for part in (
        *parts, f"dataset_{name}.json", "https://cs.stanford.edu/people/karpathy/deepimagesent/", str(tmp_path / name),
        "python -m xmkeras.train --flagfile=flags/cmpm_openmoji.cfg",
    ):  # fmt: skip
        assert part in message
    assert "\n" not in message


def test_only_what_is_missing_is_asked_for(tmp_path, options):
    folder = write_karpathy(tmp_path, "coco", COCO, filepath=True)
    (folder / "train2014").rename(tmp_path / "moved")
    with pytest.raises(UserError) as caught:
        load_source("coco", options)
    assert "train2014.zip" in str(caught.value)
    assert "dataset_coco.json" not in str(caught.value)


def test_no_folder_of_images_is_asked_for_where_none_is_looked_at(tmp_path, options):
    folder = write_karpathy(tmp_path, "coco", COCO, filepath=True)
    (folder / "train2014").rename(tmp_path / "moved")
    assert len(load_source("coco", dataclasses.replace(options, check_images=False))) == len(COCO)
