"""Freezing by patterns: variables, whole layers, batch norm, and back again."""

from __future__ import annotations

import numpy as np
import pytest

from tests.training.toy import method
from xmkeras.errors import UserError
from xmkeras.training.freezing import Freezer
from xmkeras.training.groups import parse_group


def _frozen(*patterns: str):
    return [parse_group(f"{pattern} frozen") for pattern in patterns]


def _trainable(subject) -> set[str]:
    return {name for name, variable in subject.named_variables().items() if variable.trainable}


def test_patterns_freeze_and_the_next_stage_thaws():
    subject = method(norm=True)
    everything = _trainable(subject)
    freezer = Freezer(subject)
    freezer.freeze(_frozen("image_backbone/.*"))
    assert _trainable(subject) == {name for name in everything if not name.startswith("image_backbone/")}
    freezer.freeze(_frozen(".*/bias"))
    assert _trainable(subject) == {name for name in everything if not name.endswith("/bias")}
    freezer.freeze([])
    assert _trainable(subject) == everything


def test_a_frozen_batch_norm_keeps_its_statistics_and_uses_them():
    subject = method(norm=True)
    x = np.random.default_rng(0).normal(3, 2, (16, 4)).astype(np.float32)
    statistics = {n: v.numpy() for n, v in subject.named_variables().items() if "moving" in n}
    freezer, images = Freezer(subject), subject.towers.sides["image"]
    freezer.freeze(_frozen("image_backbone/.*"))
    trained = images({"image": x}, training=True)[""]
    np.testing.assert_array_equal(trained, images({"image": x})[""])
    for name, value in statistics.items():
        np.testing.assert_array_equal(subject.named_variables()[name], value)
    freezer.freeze([])
    images({"image": x}, training=True)
    assert any(not np.array_equal(subject.named_variables()[n], v) for n, v in statistics.items())


def test_what_was_built_untrainable_stays_so():
    subject = method()
    subject.named_parts()["text_encoder"].get_layer("out").trainable = False
    freezer = Freezer(subject)
    freezer.freeze(_frozen("image_backbone/.*"))
    freezer.freeze([])
    assert not any(name.startswith("text_encoder/") for name in _trainable(subject))


def test_a_pattern_that_matches_nothing_is_an_error():
    with pytest.raises(UserError, match="nowhere"):
        Freezer(method()).freeze(_frozen("nowhere/.*"))


def test_the_first_group_that_matches_a_variable_decides():
    subject = method()
    everything = _trainable(subject)
    Freezer(subject).freeze([parse_group("image_backbone/.* lr=2x"), *_frozen("image_.*")])
    assert _trainable(subject) == {name for name in everything if not name.startswith("image_head/")}
