"""The loss scale against the rule in words."""

from __future__ import annotations

import pytest
import tensorflow as tf

from xmkeras.training.loss_scale import LossScale


@pytest.mark.parametrize(
    ("initial", "finite", "scales"),
    [
        (8.0, (True, True, True, True), (8, 16, 16, 32)),
        (8.0, (True, False, True, True), (8, 4, 4, 8)),
        (2.0, (False, False, True, False), (1, 1, 1, 1)),
        (2.0**24, (True, True), (2**24, 2**24)),
    ],
)
def test_it_halves_at_once_and_doubles_with_patience(initial, finite, scales):
    scale = LossScale(initial, patience=2)
    update, seen = tf.function(scale.update), []
    for step in finite:
        update(tf.constant(step))
        seen.append(float(scale.scale.numpy()))
    assert seen == list(scales)


def test_scale_and_patience_are_in_the_checkpoint():
    scale = LossScale(4.0, patience=3)
    scale.update(tf.constant(True))
    assert {name: float(v.numpy()) for name, v in scale.variables.items()} == {
        "loss_scale/scale": 4.0,
        "loss_scale/finite_steps": 1.0,
    }
