"""The queue of embeddings: what it keeps, in which order, and that nothing flows back into it."""

from __future__ import annotations

import numpy as np
from keras import ops

from tests.losses.checks import array, value_and_gradients
from xmkeras.layers import EmbeddingQueue


def test_the_last_embeddings_stay_newest_first():
    queue, batches = EmbeddingQueue(5, 2), np.arange(12, dtype="f4").reshape(3, 2, 2)
    for number, batch in enumerate(batches):
        assert bool(array(queue.full)) == (number > 2)
        queue(batch, np.array([2 * number, 2 * number + 1]))
    assert array(queue.labels).tolist() == [4, 5, 2, 3, 0]
    np.testing.assert_array_equal(array(queue.vectors), np.concatenate([*batches[[2, 1]], batches[0, :1]]))
    assert bool(array(queue.full))


def test_a_batch_larger_than_the_queue_fills_it():
    queue = EmbeddingQueue(2, 1)
    queue(np.array([[1.0], [2.0], [3.0]]), np.array([1, 2, 3]))
    assert array(queue.labels).tolist() == [1, 2]


def test_no_gradient_flows_into_what_is_kept():
    queue = EmbeddingQueue(2, 1)

    def loss(x):
        queue(x, np.array([0, 1]))
        return ops.sum(x * queue.vectors)

    x = np.array([[2.0], [3.0]], "f4")
    _, (gradient,) = value_and_gradients(loss, x)
    np.testing.assert_allclose(gradient, x)  # and not 2 x
    assert not queue.trainable_variables
