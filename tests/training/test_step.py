"""One step against numpy, clipping, phases, sides, the loss scale, and steps that are not finite."""

from __future__ import annotations

import dataclasses
import re

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.toys import ImagesOnly, pair_batch, pair_score
from tests.training.toy import Adversary, Alternating, Batches, Distance, Rooted, method
from tests.training.toy import towers as toy_towers
from xmkeras.method import Method, Phase
from xmkeras.models.encoder import Towers
from xmkeras.models.towers import picture_encoder
from xmkeras.training.ema import MovingAverage
from xmkeras.training.loss_scale import LossScale
from xmkeras.training.optimizers import Defaults, GroupedOptimizer
from xmkeras.training.step import TrainStep

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


def _optimizers(subject: Method, kind: str = "adam") -> dict[str, GroupedOptimizer]:
    """With slots, counters and weight decay: all that must not move when a step is skipped."""
    named = subject.named_variables()
    return {
        phase.name: GroupedOptimizer(
            {n: v for n, v in named.items() if re.fullmatch(phase.variables, n)},
            (),
            Defaults(kind, 0.01, weight_decay=0.1),
            name=phase.name,
        )
        for phase in subject.phases()
    }


def _everything(subject: Method, optimizers, average: MovingAverage) -> dict[str, bytes]:
    named = {**subject.named_variables(), **{f"average/{name}": v for name, v in average.variables.items()}}
    for optimizer in optimizers.values():
        named |= {f"optimizer/{name}": v for name, v in optimizer.variables.items()}
    return {name: variable.numpy().tobytes() for name, variable in named.items()}


@pytest.mark.parametrize("jit", [False, True])
@pytest.mark.parametrize("fault", [{"zero_at": 1}, {"nan_at": 1}])
def test_a_step_that_is_not_finite_changes_nothing(fault: dict[str, int], jit: bool):
    subject = method(Rooted, norm=True, dropout=0.3)
    optimizers, average = _optimizers(subject), MovingAverage(subject.named_variables(), 0.9)
    step = TrainStep(subject, optimizers, tf.distribute.get_strategy(), average=average, clip_norm=1.0, jit=jit)
    batches = Batches(**fault)
    step(batches.batch(0), 0)
    before = _everything(subject, optimizers, average)
    results = step(batches.batch(1), 1)
    assert not np.isfinite(results["gradient_norm"])
    assert np.isfinite(results["loss"]) == ("zero_at" in fault)
    assert _everything(subject, optimizers, average) == before
    step(batches.batch(2), 2)
    after = _everything(subject, optimizers, average)
    still = {name for name in before if after[name] == before[name]}
    assert not still


def test_a_gradient_that_is_not_finite_is_named():
    subject = method(Rooted)
    step = TrainStep(subject, _optimizers(subject), tf.distribute.get_strategy())
    results = step(Batches(zero_at=0).batch(0), 0)
    finite = dict(zip(step.gradient_names(0), results["finite_gradients"].numpy(), strict=True))
    assert finite == {name: name.startswith("text_encoder/") for name in subject.named_variables()}


def test_a_phase_that_is_not_finite_lets_the_others_go_on():
    class HalfRooted(Alternating):
        gathered = ("scale",)

        def phases(self) -> tuple[Phase, ...]:
            images, texts = super().phases()
            return dataclasses.replace(images, losses=Rooted.root), texts

    subject = method(HalfRooted, norm=True)
    optimizers, average = _optimizers(subject), MovingAverage(subject.named_variables(), 0.9)
    before = _everything(subject, optimizers, average)
    step = TrainStep(subject, optimizers, tf.distribute.get_strategy(), average=average, clip_norm=1.0)
    step(Batches(zero_at=0).batch(0), 0)
    after = _everything(subject, optimizers, average)
    moved = {name for name in before if after[name] != before[name]}
    assert {"text_encoder/out/kernel", "optimizer/texts/adam_wd0.1/iteration"} <= moved
    assert all(name.startswith(("text_encoder/", "optimizer/texts/")) for name in moved)


def test_twenty_float16_steps_whose_scale_overflows_first():
    keras.config.set_dtype_policy("mixed_float16")
    try:
        subject = method(norm=True)
        optimizers, average = _optimizers(subject), MovingAverage(subject.named_variables(), 0.9)
        scale = LossScale(initial=2.0**24)
        step = TrainStep(subject, optimizers, tf.distribute.get_strategy(), average=average, loss_scale=scale)
        start, skipped, losses = _values(subject), 0, []
        batch = Batches().batch(0)
        for number in range(20):
            before = _everything(subject, optimizers, average)
            results = step(batch, number)
            losses.append(float(results["loss"]))
            overflowed = not np.isfinite(results["gradient_norm"])
            assert (_everything(subject, optimizers, average) == before) == overflowed
            assert float(results["scale/loss"]) == 2.0 ** (24 - skipped)
            skipped += overflowed
    finally:
        keras.config.set_dtype_policy("float32")
    assert 0 < skipped < 15
    assert float(scale.scale.numpy()) == 2.0 ** (24 - skipped)
    assert losses[0] == losses[skipped]
    assert losses[-1] < 0.9 * losses[0]
    for name, value in _values(subject).items():
        assert np.abs(value - start[name]).max() > 1e-4, name


class Traced(keras.layers.Layer):
    """Counts how often it is traced."""

    traces = 0

    def call(self, x):
        self.traces += 1
        return x


@pytest.mark.parametrize("jit", [False, True])
def test_sentences_of_another_length_leave_the_images_compiled(jit: bool):
    """Against steps without XLA, whose graph of the whole batch is traced again for the second length."""
    traced, results = Traced(name="traced"), {}
    for compiles in (False, jit):
        subject = pair_score()
        subject.towers.sides["image"] = subject.towers.sides["image"].then(traced)
        step = TrainStep(subject, _optimizers(subject), tf.distribute.get_strategy(), jit=compiles)
        traced.traces = 0
        results[compiles] = [step(pair_batch(number, length=3 + number), number) for number in range(4)]
    assert traced.traces == (1 if jit else 2)
    for one, two in zip(results[False], results[jit], strict=True):
        np.testing.assert_allclose(one["loss"], two["loss"], rtol=1e-5)


def test_lengths_of_many_vectors_are_those_that_are_there():
    subject, batch = pair_score(), pair_batch(0)
    words = subject.outputs(batch, training=True)["text"].numpy()
    there = batch["text"].numpy() != 0
    assert 4 <= there.sum() < there.size
    results = TrainStep(subject, _optimizers(subject), tf.distribute.get_strategy())(batch, 0)
    expected = np.mean([np.linalg.norm(words[i, j]) for i, j in zip(*there.nonzero(), strict=True)])
    assert float(results["text_norm"]) == pytest.approx(expected, rel=1e-5)
    assert {"image_norm", "text_norm"} <= set(results)


def test_images_alone_have_one_side():
    keras.utils.set_random_seed(0)
    towers = Towers({"image": toy_towers().sides["image"]})
    subject = ImagesOnly(towers, ImagesOnly.Params(), 3)
    batch = {**Batches().batch(0), "label": tf.constant([0, 1, 0, 1, 2, 2])}
    results = TrainStep(subject, _optimizers(subject), tf.distribute.get_strategy())(batch, 0)
    assert "image_norm" in results
    assert "text_norm" not in results
    assert float(subject.heads["mean"].total) == float(results["loss"]) == float(results["contrastive"])


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


def test_xla_leaves_alone_what_a_cached_front_has_cut_inside_a_part():
    image = picture_encoder((32, 32), image_width=0.25, embedding_dim=3, image_weights="none")
    for layer in image.parts[0].model.get_layer("mobilenet").layers[:6]:
        layer.trainable = False
    subject, batch = Distance(Towers({"image": image, "text": toy_towers().sides["text"]}), None, 4), Batches().batch(0)
    front = image.front()
    assert front is not None
    cut = front({"image": tf.random.stateless_uniform((6, 32, 32, 3), [0, 1], 0, 255)})
    (entry,) = cut
    assert entry.startswith("image_cut/")
    batch = {**{name: value for name, value in batch.items() if name != "image"}, **cut}
    results = _step(subject, jit=True)(batch, 0)
    assert np.isfinite(results["loss"])
