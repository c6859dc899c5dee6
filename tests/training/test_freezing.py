"""Freezing by patterns: variables, whole layers, batch norm, and back again."""

from __future__ import annotations

import numpy as np
import pytest

from tests.training.toy import method
from xmkeras.errors import UserError
from xmkeras.training.freezing import Freezer


def _trainable(subject) -> set[str]:
    return {name for name, variable in subject.named_variables().items() if variable.trainable}


def test_patterns_freeze_and_the_next_stage_thaws():
    subject = method(norm=True)
    everything = _trainable(subject)
    freezer = Freezer(subject)
    freezer.freeze(["image_backbone/.*"])
    assert _trainable(subject) == {name for name in everything if not name.startswith("image_backbone/")}
    freezer.freeze([".*/bias"])
    assert _trainable(subject) == {name for name in everything if not name.endswith("/bias")}
    freezer.freeze([])
    assert _trainable(subject) == everything


def test_a_frozen_batch_norm_keeps_its_statistics_and_uses_them():
    subject = method(norm=True)
    x = np.random.default_rng(0).normal(3, 2, (16, 4)).astype(np.float32)
    statistics = {n: v.numpy() for n, v in subject.named_variables().items() if "moving" in n}
    freezer = Freezer(subject)
    freezer.freeze(["image_backbone/.*"])
    trained = subject.towers.image(x, training=True)
    np.testing.assert_array_equal(trained, subject.towers.image(x, training=False))
    for name, value in statistics.items():
        np.testing.assert_array_equal(subject.named_variables()[name], value)
    freezer.freeze([])
    subject.towers.image(x, training=True)
    assert any(not np.array_equal(subject.named_variables()[n], v) for n, v in statistics.items())


def test_what_was_built_untrainable_stays_so():
    subject = method()
    subject.towers.text_encoder.get_layer("out").trainable = False
    freezer = Freezer(subject)
    freezer.freeze(["image_backbone/.*"])
    freezer.freeze([])
    assert not any(name.startswith("text_encoder/") for name in _trainable(subject))


def test_a_pattern_that_matches_nothing_is_an_error():
    with pytest.raises(UserError, match="nowhere"):
        Freezer(method()).freeze(["nowhere/.*"])
