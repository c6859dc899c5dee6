"""The interface of a method: names of variables, outputs, scores, heads."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.toys import pair_batch, pair_score
from tests.training.toy import Alternating, Batches, Distance, method
from xmkeras.method import Clock


def test_every_variable_has_one_name_by_its_part():
    subject = method(norm=True)
    subject.add_head("classifier", keras.layers.Dense(3, name="classifier"), None, 3)
    names = subject.named_variables()
    assert names["image_backbone/dense/kernel"].shape == (4, 4)
    assert names["heads/classifier/kernel"].shape == (3, 3)
    assert {name.split("/")[0] for name in names} == {"image_backbone", "image_head", "text_encoder", "heads"}
    assert len({id(variable) for variable in names.values()}) == len(names)


def test_two_variables_of_one_name_are_refused():
    subject = method()
    first, second = keras.layers.Dense(2, name="same"), keras.layers.Dense(2, name="same")
    inputs = keras.Input((3,))
    inner = keras.Input((2,))
    nested = keras.Model(inner, second(inner), name="nested")
    subject.heads["twins"] = keras.Model(inputs, nested(first(inputs)), name="twins")
    with pytest.raises(ValueError, match="fixed names"):
        subject.named_variables()


def test_cached_features_enter_behind_the_backbone():
    subject, batch = method(), Batches().batch(0)
    features = subject.named_parts()["image_backbone"](batch["image"])
    whole = subject.outputs(batch, training=False)
    cached = subject.outputs({"image_features": features, "text": batch["text"]}, training=False)
    np.testing.assert_allclose(whole["image"], cached["image"], rtol=1e-6)
    assert whole["text"].dtype == "float32"


def test_outputs_are_named_after_their_sides_and_masks_stay_bool():
    subject, batch = pair_score(), pair_batch(0)
    outputs = subject.outputs(batch, training=False)
    assert {name: (value.shape, str(value.dtype.name)) for name, value in outputs.items()} == {
        "image": ((4, 3, 5), "float32"),
        "image/mask": ((4, 3), "bool"),
        "text": ((4, 4, 5), "float32"),
        "text/mask": ((4, 4), "bool"),
    }


def test_a_step_may_bring_encoders_of_its_own():
    asked: list[tuple[str, bool]] = []

    def encode(side: str, batch, training: bool):
        asked.append((side, training))
        return {side: tf.zeros((6, 3), tf.float16)}

    outputs = method().outputs(Batches().batch(0), training=True, encode=encode)
    assert asked == [("image", True), ("text", True)]
    assert outputs["image"].dtype == "float32"


def test_the_score_is_the_cosine():
    image, text = np.array([[3.0, 4.0], [0.0, 2.0]], np.float32), np.array([[1.0, 0.0]], np.float32)
    np.testing.assert_allclose(method().score({"image": image, "text": text}), [[0.6], [0.0]], atol=1e-6)
    np.testing.assert_allclose(method().score({"image": image}), [[1, 0.8], [0.8, 1]], atol=1e-6)


def test_a_method_may_score_by_the_distance():
    class Euclidean(Distance):
        similarity = "euclidean"

    image, text = np.array([[3.0, 4.0], [0.0, 2.0]], np.float32), np.array([[0.0, 0.0]], np.float32)
    np.testing.assert_allclose(method(Euclidean).score({"image": image, "text": text}), [[-5], [-2]], atol=1e-6)


def test_the_clock_knows_shares_and_epochs():
    clocks = [Clock(step, steps_per_epoch=4, total_steps=10) for step in (0, 3, 4, 9)]
    assert [clock.progress for clock in clocks] == [0, 0.3, 0.4, 0.9]
    assert [clock.epoch for clock in clocks] == [0, 0, 1, 2]
    assert [clock.begins_epoch for clock in clocks] == [True, False, True, False]


def test_phases_are_joint_unless_a_method_says_otherwise():
    assert [phase.name for phase in method().phases()] == ["joint"]
    assert [(phase.name, phase.every) for phase in method(Alternating).phases()] == [("images", 1), ("texts", 2)]
