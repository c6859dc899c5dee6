"""The towers: composition, names, and saving each alone."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.models.tiny import CAPTIONS, tiny_towers


@pytest.fixture(scope="module")
def towers():
    built = tiny_towers(dropout=0.1, word_dropout=0.1, image_dropout=0.1)
    for _ in range(3):  # The inference outputs of an untrained MobileNet vanish.
        built.encode_image(pixels(8), training=True)
    return built


def pixels(n: int) -> np.ndarray:
    return np.random.default_rng(n).uniform(0, 255, (n, 32, 32, 3)).astype("f4")


def test_a_tower_is_the_composition_of_its_parts(towers):
    features = towers.image_backbone(pixels(3))
    np.testing.assert_allclose(towers.encode_image(pixels(3)), towers.encode_features(features), atol=1e-5)
    texts = tf.constant(CAPTIONS)
    ids = towers.tokenizer(texts)
    np.testing.assert_allclose(towers.encode_text(texts), towers.encode_text_ids(ids), atol=1e-6)
    assert towers.encode_text(texts).shape == (4, 8)


def test_training_reaches_the_noise(towers):
    assert (towers.encode_image(pixels(4), training=True) != towers.encode_image(pixels(4))).numpy().any()
    assert towers.image is towers.image
    assert (towers.image_size, towers.embedding_dim) == ((32, 32), 8)


def test_names_are_unique_and_equal_in_every_build(towers):
    def names(built):
        return [f"{name}/{v.path}" for name, part in built.named_parts.items() for v in part.variables]

    first = names(towers)
    assert len(set(first)) == len(first)
    assert names(tiny_towers(dropout=0.1, word_dropout=0.1, image_dropout=0.1)) == first
    assert {name.split("/")[0] for name in first} == {"image_backbone", "image_head", "text_encoder"}


def test_equal_seeds_build_equal_towers():
    builds = []
    for _ in range(2):
        keras.utils.set_random_seed(3)
        builds.append([w for part in tiny_towers().named_parts.values() for w in part.get_weights()])
    for a, b in zip(*builds, strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_image_tower_saves_alone(towers, tmp_path):
    towers.image.save(tmp_path / "image.keras")
    again = keras.models.load_model(tmp_path / "image.keras")
    expected = towers.encode_image(pixels(3)).numpy()
    assert expected.std() > 1e-3
    np.testing.assert_allclose(again(pixels(3)).numpy(), expected, atol=1e-6)


def test_the_text_tower_saves_alone_with_its_vocabulary(towers, tmp_path):
    towers.text.save(tmp_path / "text.keras")
    again = keras.models.load_model(tmp_path / "text.keras")
    texts = tf.constant([*CAPTIONS, "an unknown word", ""])
    np.testing.assert_allclose(again(texts).numpy(), towers.encode_text(texts).numpy(), atol=1e-6)
