"""The hinge in two passes against the one in a single pass, and the softmax over scores against a loop."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import ops

from tests.losses.checks import agree, array, value_and_gradients
from tests.losses.test_cross_attention import examples
from xmkeras import losses


@pytest.mark.parametrize("ids", [None, [0, 0, 1, 2], [5, 5, 5, 5]])
def test_two_passes_have_the_loss_and_the_gradient_of_one(ids):
    x, z, mask, _, _ = examples(seed=2)
    ids = None if ids is None else np.array(ids)

    def once(images, texts):
        scores = losses.cross_attention(images, texts, None, mask)
        return losses.ranking_hinge(
            scores, image_ids=ids, mask="diagonal" if ids is None else "image", negatives="max", margin=0.4
        )

    def twice(images, texts):
        texts_of, images_of = losses.hardest_negatives(losses.cross_attention(images, texts, None, mask), ids)

        def score(i, j):
            rows = [ops.take(values, at, axis=0) for values, at in ((images, i), (texts, j), (mask, j))]
            return losses.cross_attention(rows[0], rows[1], None, rows[2], pairs=True)

        return losses.hinge_of_hardest(score, texts_of, images_of, margin=0.4)

    sides = x.astype("f4"), z.astype("f4")
    one, of_one = value_and_gradients(once, *sides)
    two, of_two = value_and_gradients(twice, *sides)
    agree(two, one)
    assert (one > 0) == (ids is None or len(set(ids)) > 1)
    for first, second in zip(of_one, of_two, strict=True):
        np.testing.assert_allclose(second, first, atol=1e-5)


def test_the_softmax_is_its_loop():
    random = np.random.default_rng(0)
    scores, rows, columns = random.normal(size=(3, 5)), np.array([4, 7, 9]), np.array([4, 7, 9, 7, 4])
    logits = scores / 0.5
    total = 0.0
    for matrix, own, other in ((logits, rows, columns), (logits.T, columns, rows)):
        costs = []
        for values, one in zip(matrix, own, strict=True):
            shares = np.log(np.exp(values) / np.exp(values).sum())
            costs.append(-np.mean([share for share, of in zip(shares, other, strict=True) if of == one]))
        total += np.mean(costs) / 2
    agree(losses.score_softmax(scores, rows, columns, temperature=0.5), total)
    pairs = keras.ops.convert_to_tensor(scores[:, :3])
    agree(losses.score_softmax(pairs), array(losses.score_softmax(pairs, rows)))


def test_a_batch_of_one_pair_has_nothing_to_learn():
    texts, images = losses.hardest_negatives(np.array([[0.3]]))
    agree(losses.hinge_of_hardest(lambda i, j: ops.zeros((3,)), texts, images), 0.0)
    agree(losses.score_softmax(np.array([[0.3]])), 0.0)
