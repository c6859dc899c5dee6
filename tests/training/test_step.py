"""One step against numpy, clipping, phases, and the loss scale."""

from __future__ import annotations

import re

import numpy as np
import pytest
import tensorflow as tf

from tests.training.toy import Adversary, Alternating, Batches, Distance, method
from xmkeras.method import Method
from xmkeras.training.optimizers import Defaults, GroupedOptimizer
from xmkeras.training.step import LossScale, TrainStep

RATE = 0.1


def _step(subject: Method, **options) -> TrainStep:
    named = subject.named_variables()
    optimizers = {}
    for phase in subject.phases():
        own = {n: v for n, v in named.items() if n.startswith(phase.variables.split(".")[0])}
        optimizers[phase.name] = GroupedOptimizer(own, (), Defaults("sgd", RATE, momentum=0.0), name=phase.name)
        optimizers[phase.name].set_rate(RATE)
    return TrainStep(subject, optimizers, tf.distribute.get_strategy(), **options)


def _values(subject: Method) -> dict[str, np.ndarray]:
    return {name: variable.numpy() for name, variable in subject.named_variables().items()}


def _expected_text_kernel(before: dict[str, np.ndarray], batch) -> tuple[np.ndarray, float]:
    """The loss and the text kernel after one SGD step, by hand."""
    image, text = batch["image"].numpy(), batch["text"].numpy()
    x = image @ before["image_backbone/dense/kernel"] + before["image_backbone/dense/bias"]
    x = x @ before["image_head/out/kernel"] + before["image_head/out/bias"]
    z = text @ before["text_encoder/out/kernel"] + before["text_encoder/out/bias"]
    gradient = text.T @ (2 * (z - x) / x.size)
    return before["text_encoder/out/kernel"] - RATE * gradient, float(np.mean((x - z) ** 2))


def test_a_step_is_the_one_computed_by_hand():
    subject, batch = method(), Batches().batch(0)
    before = _values(subject)
    results = _step(subject)(batch, 0)
    kernel, loss = _expected_text_kernel(before, batch)
    np.testing.assert_allclose(_values(subject)["text_encoder/out/kernel"], kernel, rtol=1e-5)
    assert float(results["loss"]) == pytest.approx(loss, rel=1e-5)
    assert float(results["distance"]) == pytest.approx(loss, rel=1e-5)
    assert results["finite_rows"].numpy().all()


def test_clipping_scales_the_whole_update_to_the_norm():
    updates = {}
    for clip in (0.0, 1e-3):
        subject = method()
        before = _values(subject)
        norm = float(_step(subject, clip_norm=clip)(Batches().batch(0), 0)["gradient_norm"])
        after = _values(subject)
        updates[clip] = np.concatenate([(after[n] - before[n]).ravel() for n in after]) / RATE
        assert norm == pytest.approx(np.linalg.norm(updates[0.0]), rel=1e-3)
    assert np.linalg.norm(updates[1e-3]) == pytest.approx(1e-3, rel=1e-2)
    np.testing.assert_allclose(updates[1e-3] * norm / 1e-3, updates[0.0], atol=1e-3)


def test_phases_update_their_own_variables_at_their_own_pace():
    subject = method(Alternating)
    step = _step(subject)
    for number, text_moves in ((0, True), (1, False), (2, True)):
        before = _values(subject)
        results = step(Batches().batch(number), number)
        after = _values(subject)
        assert not np.array_equal(before["image_head/out/kernel"], after["image_head/out/kernel"])
        assert np.array_equal(before["text_encoder/out/kernel"], after["text_encoder/out/kernel"]) != text_moves
        assert ("text_distance" in results) == text_moves


def test_the_loss_scale_changes_nothing_but_survives_an_overflow():
    plain, scaled = method(), method()
    _step(plain)(Batches().batch(0), 0)
    scale = LossScale(initial=2.0**10, patience=1)
    step = _step(scaled, loss_scale=scale)
    step(Batches().batch(0), 0)
    for name, value in _values(plain).items():
        np.testing.assert_allclose(_values(scaled)[name], value, rtol=1e-4, atol=1e-6)
    assert float(scale.scale.numpy()) == 2.0**11
    before = _values(scaled)
    step(Batches(nan_at=1).batch(1), 1)
    assert float(scale.scale.numpy()) == 2.0**10
    for name, value in _values(scaled).items():
        np.testing.assert_array_equal(value, before[name])


def test_rows_that_are_not_finite_are_told():
    results = _step(method(Distance))(Batches(nan_at=0).batch(0), 0)
    assert results["finite_rows"].numpy().tolist() == [True, True, False, True, True, True]
    assert not np.isfinite(float(results["loss"]))


def _adversary_step(subject: Adversary) -> TrainStep:
    named = subject.named_variables()
    optimizers = {}
    for phase in subject.phases():
        own = {n: v for n, v in named.items() if re.fullmatch(phase.variables, n)}
        optimizers[phase.name] = GroupedOptimizer(own, (), Defaults("sgd", RATE, momentum=0.0), name=phase.name)
        optimizers[phase.name].set_rate(RATE)
    return TrainStep(subject, optimizers, tf.distribute.get_strategy())


def test_a_detached_phase_comes_first_and_shares_the_embeddings():
    subject, batch = method(Adversary), Batches().batch(0)
    assert isinstance(subject, Adversary)
    before = _values(subject)
    embeddings = subject.outputs(batch, training=True)["image"].numpy()
    subject.passes = 0
    results = _adversary_step(subject)(batch, 0)
    assert subject.passes == 1
    after = _values(subject)
    kernel, bias = before["heads/judge/kernel"], before["heads/judge/bias"]
    error = embeddings @ kernel + bias - 1
    np.testing.assert_allclose(results["judge"], np.mean(error**2), rtol=1e-5)
    kernel = kernel - RATE * embeddings.T @ (2 * error / len(error))
    np.testing.assert_allclose(after["heads/judge/kernel"], kernel, rtol=1e-4)
    # The towers meet the head as it is after its update.
    judged = np.mean(embeddings @ kernel + after["heads/judge/bias"])
    np.testing.assert_allclose(results["judged"], judged, rtol=1e-4)
    assert float(results["loss"]) == pytest.approx(float(results["judge"] + results["judged"] + results["distance"]))
    assert not np.array_equal(after["image_head/out/kernel"], before["image_head/out/kernel"])


def test_gauges_are_results_that_nothing_minimises():
    subject, batch = method(Adversary), Batches().batch(0)
    assert float(_adversary_step(subject)(batch, 0)["gap/rows"]) == 6
