"""The interface of a method: names of variables, outputs, scores, heads."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from tests.training.toy import Alternating, Batches, method


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
    features = subject.towers.image_backbone(batch["image"])
    whole = subject.outputs(batch, training=False)
    cached = subject.outputs({"image_features": features, "text": batch["text"]}, training=False)
    np.testing.assert_allclose(whole["image"], cached["image"], rtol=1e-6)
    assert whole["text"].dtype == "float32"


def test_the_score_is_the_cosine():
    image, text = np.array([[3.0, 4.0], [0.0, 2.0]], np.float32), np.array([[1.0, 0.0]], np.float32)
    np.testing.assert_allclose(method().score(image, text), [[0.6], [0.0]], atol=1e-6)


def test_phases_are_joint_unless_a_method_says_otherwise():
    assert [phase.name for phase in method().phases()] == ["joint"]
    assert [(phase.name, phase.every) for phase in method(Alternating).phases()] == [("images", 1), ("texts", 2)]
