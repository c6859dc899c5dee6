"""Tests of xmkeras/data/sources/cuhk_pedes.py."""

from __future__ import annotations

import dataclasses
import json
import shutil

import pytest

from tests.data.published_layouts import write_cuhk_pedes
from xmkeras.data.sources import SourceOptions
from xmkeras.data.sources.cuhk_pedes import load
from xmkeras.errors import UserError


@pytest.fixture
def folder(tmp_path):
    return write_cuhk_pedes(tmp_path)


@pytest.fixture
def options(tmp_path) -> SourceOptions:
    return SourceOptions(data_dir=str(tmp_path))


def test_the_published_layout(folder, options):
    table = load(options)
    assert (len(table), table.num_labels, table.label_kind) == (8, 4, "identity")
    assert {split: len(table.split(split)) for split in table.split_names} == {"train": 4, "validation": 2, "test": 2}
    assert table.label_names == ["1", "2", "11004", "12004"]
    assert table.labels.tolist() == [0, 1, 2, 3] * 2
    assert table.captions[4] == ("The man 1 wears a hat.", "A person, seen for time 4.")
    assert table.image_ids[1] == "cam_a/0002_1.png"
    assert table.read_bytes(1) == (folder / "imgs/cam_a/0002_1.png").read_bytes()


def test_the_published_validation_records(shared, tmp_path):
    """3,078 images of 1,000 people with 6,158 captions, as counted by the papers; the images are not at hand."""
    (tmp_path / "CUHK-PEDES").mkdir()
    shutil.copy(shared / "data/cuhk_pedes_text/val_reid.json", tmp_path / "CUHK-PEDES/reid_raw.json")
    table = load(SourceOptions(data_dir=str(tmp_path), check_images=False))
    assert (len(table), table.num_labels, table.split_names) == (3078, 1000, ["validation"])
    assert sum(map(len, table.captions)) == 6158
    assert table.label_names[0] == "11004"
    assert table.image_paths is not None
    assert table.image_paths[0] == str(tmp_path / "CUHK-PEDES/imgs/CUHK01/0107002.png")


def test_an_image_without_file_is_named(folder, options):
    (folder / "imgs/Market/11004_2.png").unlink()
    with pytest.raises(UserError, match=r"reid_raw\.json item 3: no such image file '.*Market/11004_2.png'"):
        load(options)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [({"split": "query"}, "unknown split"), ({"id": "x"}, "expected a file_path"), ({"captions": 3}, "expected")],
)
def test_a_broken_record_is_named(folder, options, change, sentence):
    records = json.loads((folder / "reid_raw.json").read_text())
    records[1] |= change
    (folder / "reid_raw.json").write_text(json.dumps(records))
    with pytest.raises(UserError, match=rf"reid_raw\.json item 2: {sentence}"):
        load(options)


def test_nothing_there_says_what_whence_where_and_what_trains_now(tmp_path, options):
    with pytest.raises(UserError) as caught:
        load(options)
    message = str(caught.value)
    for part in (
        "imgs/", "reid_raw.json", "https://github.com/ShuangLI59/Person-Search-with-Natural-Language-Description",
        str(tmp_path / "CUHK-PEDES"), "python -m xmkeras.train --flagfile=flags/cmpm_openmoji.cfg",
    ):  # fmt: skip
        assert part in message
    assert "\n" not in message


def test_no_folder_of_images_is_asked_for_where_none_is_looked_at(folder, options):
    (folder / "imgs").rename(folder / "moved")
    table = load(dataclasses.replace(options, check_images=False))
    assert len(table) == 8
    assert table.image_paths[1] == str(folder / "imgs/cam_a/0002_1.png")


@pytest.mark.parametrize(("gone", "kept"), [("imgs", "reid_raw"), ("reid_raw.json", "imgs")])
def test_only_what_is_missing_is_asked_for(folder, options, gone, kept):
    (folder / gone).rename(folder / "moved")
    with pytest.raises(UserError) as caught:
        load(options)
    assert gone in str(caught.value)
    assert kept not in str(caught.value)
