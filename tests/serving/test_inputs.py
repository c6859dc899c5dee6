"""What requests become: entries of a batch, and which rows are valid."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from tests.serving.conftest import MAX_PIXELS, SIZE, VALID, picture, tokenizer
from xmkeras.data import images
from xmkeras.serving.inputs import Arrays, ImageBytes, Sentences


def test_image_files_become_pixels_and_a_bad_one_costs_its_own_row(encoded):
    entries, valid = ImageBytes(SIZE, MAX_PIXELS).entries(tf.constant(encoded))
    np.testing.assert_array_equal(valid, VALID)
    assert entries["image"].shape == (7, *SIZE, 3)
    np.testing.assert_array_equal(entries["image"][0], images.load(tf.constant(picture(20)), SIZE))
    np.testing.assert_array_equal(entries["image"].numpy()[~VALID], 0.0)


def test_example_images_go_every_way_through_the_decoder():
    given = ImageBytes(SIZE)
    _, valid = given.entries(tf.constant(given.examples()))
    np.testing.assert_array_equal(valid, [True, True, False])


def test_sentences_become_token_ids_and_are_always_valid():
    given = Sentences(tokenizer())
    entries, valid = given.entries(tf.constant(given.examples()))
    assert valid is None
    np.testing.assert_array_equal(entries["text"], tokenizer()(tf.constant(given.examples())))
    assert entries["text"].shape[0] == 3


def test_a_row_that_is_not_finite_costs_itself():
    rows = np.arange(12, dtype=np.float32).reshape(3, 2, 2)
    broken = rows.copy()
    broken[1, 0, 1], broken[2, 1, 1] = np.nan, np.inf
    given = Arrays("image", (2, 2))
    entries, valid = given.entries(tf.constant(broken))
    np.testing.assert_array_equal(valid, [True, False, False])
    np.testing.assert_array_equal(entries["image_features"], [rows[0], np.zeros((2, 2)), np.zeros((2, 2))])
    assert given.spec.name == "image_features"
    assert given.spec.shape.as_list() == [None, 2, 2]
    assert given.examples().shape == (3, 2, 2)


def test_what_they_say_of_themselves():
    assert ImageBytes((32, 48), 100).describe() == {"image_size": [32, 48], "max_pixels": 100}
    assert Sentences(tokenizer()).describe() == {"tokenizer": "core"}
    assert Arrays("text", (36, 8)).describe() == {"text_features": [36, 8]}
