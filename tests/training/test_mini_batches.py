"""A batch embedded in mini-batches is the batch embedded at once."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import tensorflow as tf

from tests.training.test_step import _step, _values
from tests.training.toy import Alternating, Batches, Distance, method
from xmkeras.errors import UserError
from xmkeras.method import Batch, Losses, Method, Outputs
from xmkeras.training.mini_batches import encode_in_mini_batches


class InBatch(Distance):
    """A loss of all pairs of the batch, which no sum over its parts can give."""

    def losses(self, outputs: Outputs, batch: Batch) -> Losses:
        scores = tf.matmul(outputs["image"], outputs["text"], transpose_b=True)
        return {"softmax": tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(batch["label"], scores))}


@pytest.mark.parametrize("kind", [InBatch, Alternating])
@pytest.mark.parametrize("size", [1, 4, 6, 100])
def test_a_step_is_the_same_at_any_size(kind: type[Method], size: int):
    batch = Batches().batch(0)
    at_once, in_parts = method(kind), method(kind)
    expected, results = _step(at_once)(batch, 0), _step(in_parts, mini_batch_size=size)(batch, 0)
    for name, value in expected.items():
        np.testing.assert_allclose(results[name], value, rtol=1e-5, err_msg=name)
    for name, value in _values(at_once).items():
        np.testing.assert_allclose(_values(in_parts)[name], value, rtol=1e-5, atol=1e-7, err_msg=name)


def test_dropout_is_the_same_both_times_and_goes_on_from_step_to_step():
    subject = method(InBatch, dropout=0.5, dim=5)
    entries, encode = {"image": tf.ones((6, 4))}, encode_in_mini_batches(subject, 2)
    kernel = subject.named_variables()["image_head/out/kernel"].value

    @tf.function
    def both():
        with tf.GradientTape() as tape:
            outputs = encode("image", entries, True)["image"]
        # The gradient of the head's kernel is the sum over the rows of what it saw, in which dropout shows.
        return outputs, tape.gradient(outputs, kernel)

    seen = []
    for _ in range(3):
        outputs, gradient = both()
        found = np.linalg.lstsq(kernel.numpy().T, outputs.numpy().T, rcond=None)[0]
        np.testing.assert_allclose(found.sum(axis=1), gradient[:, 0], atol=1e-4)
        seen.append(outputs.numpy())
    states = [v.numpy() for n, v in subject.named_variables().items() if "seed" in n]
    assert all(np.abs(one - two).max() > 0 for one, two in itertools.pairwise(seen))
    assert len(states) == 1
    # Mini-batches of a batch are dropped differently too.
    assert np.abs(seen[0][:2] - seen[0][2:4]).max() > 0
    again = method(InBatch, dropout=0.5, dim=5)
    for _ in range(9):
        again.towers.encode("image", {"image": entries["image"][:2]}, True)
    np.testing.assert_array_equal(states[0], next(v for n, v in again.named_variables().items() if "seed" in n))


def test_batch_norm_averages_each_mini_batch_once():
    batch = Batches().batch(0)
    in_parts, by_hand = method(InBatch, norm=True), method(InBatch, norm=True)
    for start in (0, 4):
        by_hand.towers.encode("image", {"image": batch["image"][start : start + 4]}, True)
    _step(in_parts, mini_batch_size=4)(batch, 0)
    averages = {name: value for name, value in _values(in_parts).items() if "moving" in name}
    assert len(averages) == 2
    for name, value in averages.items():
        np.testing.assert_allclose(value, _values(by_hand)[name], rtol=1e-5, err_msg=name)


def test_several_replicas_need_towers_without_batch_norm():
    encode_in_mini_batches(method(InBatch), 2, replicated=True)
    with pytest.raises(UserError, match="joint_norm=none"):
        encode_in_mini_batches(method(InBatch, norm=True), 2, replicated=True)


def test_in_inference_nothing_is_cut():
    subject, batch = method(InBatch, norm=True), Batches().batch(0)
    cut = encode_in_mini_batches(subject, 2)("image", batch, False)
    np.testing.assert_array_equal(cut["image"], subject.towers.encode("image", batch, False)["image"])
