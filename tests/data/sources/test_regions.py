"""Pre-computed regions: every published layout, what is gathered from it, and what is wrong with a broken one."""

from __future__ import annotations

import collections
import json
import logging
import pathlib

import numpy as np
import pytest
import tensorflow as tf

from tests.data.published_layouts import (
    write_mapped_pictures,
    write_precaps,
    write_regions,
    write_vocabulary,
)
from xmkeras.data.readers import Items, Vectors
from xmkeras.data.rows import RowTable
from xmkeras.data.sources import SourceOptions, load_source
from xmkeras.errors import UserError


def load(root: pathlib.Path, source: str = "flickr30k_regions", **options) -> RowTable:
    return load_source(source, SourceOptions(data_dir=str(root), **options))


def counts(table: RowTable) -> dict[str, int]:
    return dict(collections.Counter(table.splits.tolist()))


def images_of(table: RowTable, split: str) -> list[float]:
    """The first number of the first region of each row, which the fixture sets to the number of the image."""
    part = table.split(split)
    return part.features[part.image_index][:, 0, 0].tolist()


def test_images_repeated_or_not_are_rows_with_their_five_captions(tmp_path):
    write_regions(tmp_path)
    table = load(tmp_path)
    assert counts(table) == {"train": 6, "validation": 4, "test": 3}
    assert images_of(table, "train") == [0, 1, 2, 3, 4, 5]
    assert images_of(table, "validation") == [6, 7, 8, 9]
    assert images_of(table, "test") == [10, 11, 12]
    assert [len(captions) for captions in table.captions] == [5] * 13
    assert table.captions[7][2] == "A grey dog 's image 7 , 2 ."
    assert table.image_ids[11] == "1011"
    assert (table.label_kind, table.labels.tolist()) == ("image", list(range(13)))
    assert table.features.shape[1:] == (3, 4)
    assert table.boxes is None
    assert table.image_paths is None


def test_the_files_are_read_from_and_never_copied(tmp_path):
    place = write_regions(tmp_path)
    table = load(tmp_path)
    assert all(isinstance(part, np.memmap) for part in table.features.parts)
    test = table.split("test")
    items = Items(*(np.arange(3), np.zeros(3, np.int64)), test.image_index)
    reader = Vectors("image_features", table.features, items)
    rows = tf.constant([2, 0], tf.int64)
    read = tf.function(lambda: reader.read(rows, rows, rows)["image_features"], autograph=False)
    assert read().shape == (2, 3, 4)
    assert read()[:, 0, 0].numpy().tolist() == [12, 10]
    changed = np.load(place / "test_ims.npy", mmap_mode="r+")
    changed[10] = 7
    changed.flush()
    assert (read()[0].numpy() == 7).all()


def test_validation_is_cut_to_the_first_thousand_images(tmp_path):
    write_regions(tmp_path, sizes={"train": 2, "dev": 1014, "test": 2}, shape=(1, 2))
    table = load(tmp_path)
    assert counts(table)["validation"] == 1000
    assert images_of(table, "validation")[-1] == 2 + 999


def test_coco_tests_on_all_or_on_the_first_thousand(tmp_path):
    sizes = {"train": 4, "dev": 2, "test": 2, "testall": 5}
    write_regions(tmp_path, "coco_precomp", sizes)
    assert counts(load(tmp_path, "coco_regions"))["test"] == 5
    assert counts(load(tmp_path, "coco_regions", split_rule="1k"))["test"] == 2
    with pytest.raises(UserError, match="give 1k, or nothing"):
        load(tmp_path, "coco_regions", split_rule="5k")
    (tmp_path / "coco_precomp" / "testall_ims.npy").unlink()
    with pytest.raises(UserError, match=r"has the captions of testall, but no testall_ims.npy"):
        load(tmp_path, "coco_regions")


def test_splits_that_are_not_there_are_left_out(tmp_path):
    write_regions(tmp_path, sizes={"test": 3}, ids=False)
    table = load(tmp_path)
    assert counts(table) == {"test": 3}
    assert table.image_ids == ["test-000000", "test-000001", "test-000002"]
    with pytest.raises(UserError, match="no rows in split 'train'"):
        table.split("train")


def test_numbered_captions_take_the_vocabulary_of_the_release(tmp_path):
    place = write_regions(tmp_path)
    write_precaps(place)
    with pytest.raises(UserError, match=r"vocab/f30k_precomp_vocab.json cannot be read"):
        load(tmp_path)
    write_vocabulary(tmp_path)
    assert load(tmp_path).captions[0][1] == "a blue dog 's \ufffd"
    (tmp_path / "vocab").rename(tmp_path / "words")
    own = load(tmp_path, vocabulary="words/f30k_precomp_vocab.json")
    assert own.captions[0][0] == "a red dog 's \ufffd"
    with (place / "train_precaps.txt").open("a") as file:
        file.write("1,99,2\n" * 5)
    with pytest.raises(UserError, match=r"train_precaps.txt line 31: '1,99,2' are not ids .* 13 words"):
        load(tmp_path, vocabulary="words/f30k_precomp_vocab.json")


def test_boxes_lie_beside_the_regions_they_are_of(tmp_path):
    write_regions(tmp_path, boxes="boxes")
    table = load(tmp_path)
    test = table.split("test")
    np.testing.assert_allclose(table.boxes.of(test.image_index[1])[1], [0.11, 0.105, 0.51, 0.305])
    np.save(tmp_path / "f30k_precomp" / "dev_boxes.npy", np.zeros((4, 3, 4)))
    with pytest.raises(UserError, match=r"dev_boxes.npy and dev_img_sizes.npy have the shapes .* expected"):
        load(tmp_path)


def test_pickled_sizes_are_refused_and_the_rest_is_read(tmp_path, caplog):
    write_regions(tmp_path, boxes="ims_bbx")
    with caplog.at_level(logging.WARNING, logger="absl"):
        assert load(tmp_path).boxes is None
    assert "train_ims_size.npy is a pickle, which can run code" in caplog.text
    np.save(tmp_path / "f30k_precomp" / "train_ims_size.npy", np.tile([100, 200], (6, 1)))
    table = load(tmp_path)
    np.testing.assert_allclose(table.boxes.of(0)[0], [0.1, 0.1, 0.5, 0.3])
    assert table.boxes.of(int(table.split("test").image_index[0])) is None


def test_photographs_lie_beside_regions_and_can_be_read_alone(tmp_path):
    write_mapped_pictures(tmp_path)
    regions, pictures = load(tmp_path), load(tmp_path, "flickr30k")
    assert regions.image_paths == pictures.image_paths
    assert regions.image_paths[0].endswith("flickr30k-images/part/1000.png")
    assert pictures.features is None
    assert counts(pictures) == counts(regions) == {"train": 6, "validation": 4, "test": 3}
    assert pictures.captions == regions.captions
    assert len(pictures.read_bytes(3)) > 0
    mapping = tmp_path / "f30k" / "id_mapping.json"
    names = json.loads(mapping.read_text())
    mapping.write_text(json.dumps({name: path for name, path in names.items() if name != "1004"}))
    for source in ("flickr30k_regions", "flickr30k"):
        with pytest.raises(UserError, match=r"id_mapping.json has no picture for the image '1004'"):
            load(tmp_path, source)
    write_mapped_pictures(tmp_path, "coco", "images")
    assert counts(load(tmp_path, "coco")) == counts(pictures)


def test_ones_own_regions_have_as_many_captions_as_there_are(tmp_path):
    place = write_regions(tmp_path, "mine", captions=2, repeated=())
    table = load(tmp_path, "regions", table=str(place))
    assert (counts(table), len(table.captions[0]), table.name) == ({"train": 6, "validation": 4, "test": 3}, 2, "mine")
    write_regions(tmp_path, "mine", sizes={"train": 6}, captions=5, repeated=("train",))
    assert images_of(load(tmp_path, "regions", table=str(place)), "train") == [0, 1, 2, 3, 4, 5]
    with pytest.raises(UserError, match="give --table=FOLDER"):
        load(tmp_path, "regions")


def test_what_is_missing_is_named(tmp_path):
    with pytest.raises(UserError, match=r"flickr30k_regions data set is not complete: put test_ims.npy .*f30k_prec"):
        load(tmp_path)
    place = write_regions(tmp_path)
    (place / "train_caps.txt").unlink()
    with pytest.raises(UserError, match=r"neither train_caps.txt nor train_precaps.txt; add the captions"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("file", "content", "words"),
    [
        ("train_ims.npy", np.zeros((6, 4), np.float32), r"shape \(6, 4\) and type float32; expected regions"),
        ("train_ims.npy", np.zeros((7, 3, 4), np.float32), "regions of 7 images beside 30 captions; expected 5"),
        ("train_ims.npy", np.zeros((6, 3, 5), np.float32), "3 regions of 5 float32 numbers in train_ims.npy and 3 reg"),
        ("train_ims.npy", np.zeros((6, 3, 4), np.float16), "float16 numbers in train_ims.npy and .* dev_ims.npy"),
        ("train_ims.npy", np.arange(360.0).reshape(30, 3, 4).astype(np.float32), "does not repeat one 5 times"),
        ("train_ims.npy", "nothing", "train_ims.npy cannot be read as regions"),
        ("train_caps.txt", "a\n\nb\n", "train_caps.txt line 2 is empty"),
        ("train_caps.txt", b"\xff\xfe", "train_caps.txt cannot be read as UTF-8"),
        ("train_ids.txt", "1\n2\n", "holds 2 ids for 6 images of 5 captions"),
        ("train_ids.txt", "1\n2\n3\n1\n4\n5\n", "image '1' is there twice"),
    ],
)
def test_faults_are_one_sentence(tmp_path, file, content, words):
    path = write_regions(tmp_path) / file
    if isinstance(content, np.ndarray):
        np.save(path, content)
    else:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UserError, match=words):
        load(tmp_path)


def test_pickled_regions_are_never_read(tmp_path):
    np.save(write_regions(tmp_path) / "train_ims.npy", np.array([{"a": 1}]), allow_pickle=True)
    with pytest.raises(UserError, match=r"train_ims.npy cannot be read as regions"):
        load(tmp_path)
