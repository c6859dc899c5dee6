"""The contrastive method: its terms, what it learns beside the towers, and which pairs are right."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.reference import pairwise
from tests.training.toy import towers
from xmkeras.methods.contrastive import Contrastive

GENERATOR = np.random.default_rng(0)
OUTPUTS = {side: tf.constant(GENERATOR.normal(size=(5, 3)), tf.float32) for side in ("image", "text")}
BATCH = {"image_id": tf.constant([0, 0, 1, 2, 3]), "label": tf.constant([0, 0, 0, 1, 1])}
COSINES = [
    [float(np.dot(a, b) / np.linalg.norm(a) / np.linalg.norm(b)) for b in OUTPUTS["text"].numpy()]
    for a in OUTPUTS["image"].numpy()
]


def method(**params) -> Contrastive:
    keras.utils.set_random_seed(0)
    return Contrastive(towers(), Contrastive.Params(**params), 4)


@pytest.mark.parametrize("right", ["image", "label"])
def test_the_terms_are_those_of_the_loops(right):
    ids = BATCH["image_id" if right == "image" else "label"].numpy()
    (softmax,) = method(right=right).losses(OUTPUTS, BATCH).values()
    assert float(softmax) == pytest.approx(pairwise.score_softmax(COSINES, ids, 0.07), rel=1e-5)
    sigmoid = method(right=right, loss="sigmoid", temperature=0.1).losses(OUTPUTS, BATCH)
    assert float(sigmoid["sigmoid"]) == pytest.approx(pairwise.score_sigmoid(COSINES, ids, 0.1, -10.0), rel=1e-5)


def test_the_heads_are_learnt_and_shown():
    subject = method(loss="sigmoid")
    assert {"heads/temperature/logarithm", "heads/bias/value"} < subject.named_variables().keys()
    with tf.GradientTape() as tape:
        loss = subject.losses(OUTPUTS, BATCH)["sigmoid"]
    heads = [subject.heads[name].number.value for name in ("temperature", "bias")]
    assert all(np.isfinite(slope) and slope != 0 for slope in tape.gradient(loss, heads))
    gauges = {name: float(value) for name, value in subject.gauges(OUTPUTS, BATCH).items()}
    assert gauges == pytest.approx({"learnt/temperature": 0.07, "learnt/bias": -10.0})
    assert not method(learn_temperature=False).heads
