import numpy as np
import pytest
import tensorflow as tf

from tests.data.toy_pictures import BROKEN, COUNT, EVERYTHING, SIZE, TOKENIZER, assert_equal, encoded, rows, take
from xmkeras.data import images, passes, readers
from xmkeras.data.readers import Items
from xmkeras.data.rows import Row, RowTable


@pytest.fixture(scope="module")
def table(tmp_path_factory) -> RowTable:
    """Twenty pictures in files, two of them broken."""
    return RowTable.from_rows("toy", rows(tmp_path_factory.mktemp("pictures")), label_kind="class")


def pictures(table: RowTable, **options) -> list[dict[str, np.ndarray]]:
    """Eight a batch, all of one pass over the distinct images."""
    return take(passes.one_pass(readers.Pictures(table, SIZE, **options), Items.images(table), batch_size=8), 9)


def test_images_once_in_order_without_the_broken_ones(table):
    seen = pictures(table)
    assert [len(batch["item"]) for batch in seen] == [8, 8, 2]
    order = np.concatenate([batch["item"] for batch in seen])
    np.testing.assert_array_equal(order, np.setdiff1d(np.arange(COUNT), BROKEN))
    np.testing.assert_array_equal(seen[0]["image"][3], images.load(tf.constant(encoded(3)), SIZE))


def test_each_distinct_image_once(tmp_path):
    doubled = [Row(row.image, row.captions, row.label, row.image_id, "train") for row in rows(tmp_path) for _ in "ab"]
    table = RowTable.from_rows("toy", doubled, label_kind="class")
    items = Items.images(table)
    np.testing.assert_array_equal(items.rows, 2 * np.arange(COUNT))
    order = np.concatenate([batch["item"] for batch in pictures(table)])
    np.testing.assert_array_equal(order, np.setdiff1d(np.arange(COUNT), BROKEN))


def test_views_of_an_image(table):
    (batch, *_) = pictures(table, augmentation=images.Augmentation(flip=True), views=2)
    assert batch["image"].shape == (8, 2, *SIZE, 3)
    np.testing.assert_array_equal(batch["image"][:, 1], batch["image"][:, 0, :, ::-1])
    options = {"augmentation": EVERYTHING, "views": 3, "seed": 1}
    varied = pictures(table, **options)
    np.testing.assert_array_equal(varied[0]["image"][:, 0], batch["image"][:, 0])
    assert (varied[0]["image"][:, 1] != varied[0]["image"][:, 2]).any()
    assert_equal(varied, pictures(table, **options))


def test_captions_row_by_row(table):
    items = Items.texts(table)
    seen = take(passes.one_pass(readers.Sentences(table, TOKENIZER), items, batch_size=7), 9)
    assert [len(batch["item"]) for batch in seen] == [7, 7, 7, 7, 2]
    np.testing.assert_array_equal(np.concatenate([batch["item"] for batch in seen]), np.arange(len(items)))
    np.testing.assert_array_equal(items.rows, [row for row, own in enumerate(table.captions) for _ in own])
    texts = np.concatenate([batch["text"] for batch in seen])
    captions = [caption for own in table.captions for caption in own]
    np.testing.assert_array_equal(texts, TOKENIZER(captions))


def test_vectors_that_are_missing_are_left_out(table):
    features = np.arange(COUNT * 3, dtype=np.float32).reshape(COUNT, 3)
    features[[2, 9]] = np.nan
    items = Items.images(table)
    seen = take(passes.one_pass(readers.Vectors("image_features", features, items), items, batch_size=8), 9)
    order = np.concatenate([batch["item"] for batch in seen])
    np.testing.assert_array_equal(order, np.setdiff1d(np.arange(COUNT), [2, 9]))
    np.testing.assert_array_equal(np.concatenate([batch["image_features"] for batch in seen]), features[order])
