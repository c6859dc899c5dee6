"""Feature batches: what they hold, exact resume, one pass in order."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from tests.data.feature_pairs import vectors
from xmkeras.data.feature_batches import FeatureBatches, image_feature_batches, text_feature_batches
from xmkeras.data.sampling import PairSampler
from xmkeras.data.vector_table import vector_table


@pytest.fixture(scope="module")
def table():
    labels = np.arange(14) % 3
    images, texts = vectors(labels)
    images[7] = images[1]
    names = [f"image{row}" for row in range(14)]
    names[7] = names[1]
    return vector_table(
        "pairs", images=images, texts=texts, labels=labels.tolist(), splits=["train"] * 14, image_ids=names
    )


def batches(table):
    return FeatureBatches(table, PairSampler(np.ones(14, int), batch_size=4, seed=3))


def test_batches_follow_the_sampler(table):
    made = batches(table)
    sampler = PairSampler(np.ones(14, int), batch_size=4, seed=3)
    for step, batch in enumerate(itertools.islice(made.iterate(0), 7)):
        rows = sampler.batch(step)[0]
        np.testing.assert_array_equal(batch["row"], rows)
        np.testing.assert_array_equal(batch["text_features"], table.text_features[rows])
        np.testing.assert_array_equal(batch["image_features"], table.features[table.image_index[rows]])
        np.testing.assert_array_equal(batch["label"], table.labels[rows])
        np.testing.assert_array_equal(batch["image_id"], table.image_index[rows])


@pytest.mark.parametrize("start", [1, 3, 5])
def test_going_on_from_any_step_gives_the_same_batches(table, start):
    whole = [batch["row"].numpy() for batch in itertools.islice(batches(table).iterate(0), 8)]
    rest = [batch["row"].numpy() for batch in itertools.islice(batches(table).iterate(start), 8 - start)]
    np.testing.assert_array_equal(whole[start:], rest)


def test_one_pass_over_images_and_texts(table):
    images = list(image_feature_batches(table, 5))
    texts = list(text_feature_batches(table, 5))
    assert np.concatenate([batch["row"] for batch in images]).tolist() == [r for r in range(14) if r != 7]
    assert np.concatenate([batch["row"] for batch in texts]).tolist() == list(range(14))
    np.testing.assert_array_equal(np.concatenate([b["text_features"] for b in texts]), table.text_features)
