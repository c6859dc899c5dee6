import numpy as np
import pytest
import tensorflow as tf

from tests.data.toy_pictures import BROKEN, COUNT, EVERYTHING, SIZE, TOKENIZER, assert_equal, encoded, rows, take
from xmkeras.data import images, passes
from xmkeras.data.rows import Row, RowTable


@pytest.fixture(scope="module")
def table(tmp_path_factory) -> RowTable:
    """Twenty pictures in files, two of them broken."""
    return RowTable.from_rows("toy", rows(tmp_path_factory.mktemp("pictures")), label_kind="class")


def test_image_batches(table):
    seen = take(passes.image_batches(table, image_size=SIZE, batch_size=8), 9)
    assert [len(batch["row"]) for batch in seen] == [8, 8, 2]
    order = np.concatenate([batch["row"] for batch in seen])
    np.testing.assert_array_equal(order, np.setdiff1d(np.arange(COUNT), BROKEN))
    np.testing.assert_array_equal(seen[0]["image"][3], images.load(tf.constant(encoded(3)), SIZE))


def test_image_batches_have_each_image_once(tmp_path):
    doubled = [Row(row.image, row.captions, row.label, row.image_id, "train") for row in rows(tmp_path) for _ in "ab"]
    table = RowTable.from_rows("toy", doubled, label_kind="class")
    seen = take(passes.image_batches(table, image_size=SIZE, batch_size=100), 2)
    np.testing.assert_array_equal(seen[0]["row"], 2 * np.setdiff1d(np.arange(COUNT), BROKEN))


def test_views_of_an_image(table):
    flips = images.Augmentation(flip=True)
    (batch,) = take(passes.image_batches(table, image_size=SIZE, batch_size=18, augmentation=flips, views=2), 2)
    assert batch["image"].shape == (18, 2, *SIZE, 3)
    np.testing.assert_array_equal(batch["image"][:, 1], batch["image"][:, 0, :, ::-1])
    options = {"image_size": SIZE, "batch_size": 18, "augmentation": EVERYTHING, "views": 3, "seed": 1}
    (varied,) = take(passes.image_batches(table, **options), 2)
    np.testing.assert_array_equal(varied["image"][:, 0], batch["image"][:, 0])
    assert (varied["image"][:, 1] != varied["image"][:, 2]).any()
    assert_equal([varied], take(passes.image_batches(table, **options), 2))


def test_caption_batches(table):
    seen = take(passes.caption_batches(table, tokenize=TOKENIZER, batch_size=7), 9)
    assert [len(batch["row"]) for batch in seen] == [7, 7, 7, 7, 2]
    order = np.concatenate([batch["row"] for batch in seen])
    np.testing.assert_array_equal(order, [row for row, own in enumerate(table.captions) for _ in own])
    for batch in seen:
        np.testing.assert_array_equal(batch["label"], table.labels[batch["row"]])
        np.testing.assert_array_equal(batch["image_id"], table.image_index[batch["row"]])
    texts = np.concatenate([batch["text"] for batch in seen])
    captions = [caption for own in table.captions for caption in own]
    np.testing.assert_array_equal(texts, TOKENIZER(captions))
