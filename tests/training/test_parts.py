"""Parts of a batch: their sizes, and that towers without batch norm do not notice them."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from xmkeras.errors import UserError
from xmkeras.training.parts import in_parts, part_sizes


@pytest.mark.parametrize("batch_size", [16, 17, 32, 33, 64, 100])
@pytest.mark.parametrize("parts", [1, 2, 3, 4])
def test_parts_cover_the_batch_and_no_two_are_alike(batch_size: int, parts: int):
    sizes = part_sizes(batch_size, parts)
    assert sum(sizes) == batch_size
    assert len(set(sizes)) == parts
    assert max(sizes) - min(sizes) <= 2 * parts


@pytest.mark.parametrize(("batch_size", "parts"), [(4, 4), (2, 2), (8, 0), (8, -1)])
def test_parts_that_cannot_be_are_refused_in_one_sentence(batch_size: int, parts: int):
    with pytest.raises(UserError, match="--image_parts"):
        part_sizes(batch_size, parts)


def test_parts_give_the_embeddings_and_gradients_of_the_whole():
    tower = keras.Sequential([keras.Input((4, 4, 3)), keras.layers.Conv2D(5, 3), keras.layers.Flatten()])
    images = tf.random.stateless_normal((16, 4, 4, 3), (1, 2))

    def embed(batch, training):
        return tower(batch["image"], training=training)

    results = []
    for function in (embed, in_parts(embed, part_sizes(16, 3))):
        with tf.GradientTape() as tape:
            embeddings = function({"image": images}, True)
            loss = tf.reduce_sum(embeddings**2)
        results.append([embeddings, *tape.gradient(loss, tower.trainable_variables)])
    for whole, parts in zip(*results, strict=True):
        np.testing.assert_allclose(parts, whole, rtol=1e-5, atol=1e-5)


def test_batch_norm_sees_one_part_at_a_time():
    norm = keras.layers.BatchNormalization(momentum=0.5)
    images = tf.concat([tf.fill((3, 1, 1, 2), 1.0), tf.fill((5, 1, 1, 2), 9.0)], axis=0)
    seen = in_parts(lambda batch, training: norm(batch["image"], training=training), part_sizes(8, 2))
    np.testing.assert_allclose(seen({"image": images}, True), np.zeros(images.shape), atol=1e-6)
    np.testing.assert_allclose(norm.moving_mean, [4.75, 4.75])  # 0 -> 0.5 -> 4.75


def test_cached_features_pass_whole():
    seen = []
    embed = in_parts(lambda batch, training: seen.append(batch["image_features"].shape), [2, 4])
    embed({"image_features": tf.zeros((6, 3))}, True)
    assert seen == [(6, 3)]
