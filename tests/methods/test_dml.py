"""The method DML: its terms against losses and published vectors, who learns from what, lambda's course, options."""

from __future__ import annotations

import json
import math
import pathlib
import re

import numpy as np
import pytest
import tensorflow as tf

from tests.models.plain import plain_images
from xmkeras import losses
from xmkeras.errors import UserError
from xmkeras.losses.similarity import unit
from xmkeras.method import Clock
from xmkeras.methods.dml import EXTENSIONS, LOSS_NAMES, LOSSES, METHOD, Dml
from xmkeras.models.encoder import Towers
from xmkeras.models.towers import picture_encoder

VECTORS = json.loads((pathlib.Path(__file__).parents[1] / "vectors.json").read_text())
CLASSES, WIDTH = 4, 32
LABELS = tf.constant([2, 0, 1, 0, 2, 3], tf.int64)
BATCH = {"label": LABELS}


def build(**params) -> Dml:
    chosen = Dml.Params(maps="relu", **params)
    with plain_images():
        encoder = picture_encoder((32, 32), embedding_dim=3, **Dml.encoder_options(chosen).get("image", {}))
    return Dml(Towers({"image": encoder}), chosen, CLASSES)


def outputs(seed: int = 0) -> dict[str, tf.Tensor]:
    generator = np.random.default_rng(seed)
    sizes = {"image": 3, "image/features": WIDTH}
    return {name: tf.constant(generator.normal(size=(6, size)), tf.float32) for name, size in sizes.items()}


def gradient(loss, source: tf.Tensor) -> tf.Tensor:
    with tf.GradientTape() as tape:
        tape.watch(source)
        value = loss()
    slope = tape.gradient(value, source)
    return None if slope is None else tf.convert_to_tensor(slope)


def test_the_file_exports_its_method():
    assert METHOD is Dml
    assert tuple(LOSSES) == LOSS_NAMES


@pytest.mark.parametrize("extension", EXTENSIONS)
def test_an_extension_is_made_of_these_parts(extension: str):
    method = build(extension=extension, attention="mean")
    fused, adversary = extension in ("gdfl", "soft_adv", "adapt_adv"), extension in ("adversary", "adapt_adv")
    assert ("image_map/relu" in method.towers.sides["image"].parts[1].takes) == fused
    judged = adversary or extension == "soft_adv"
    assert ("classifier" in method.heads) == judged
    assert ("reversal" in method.heads) == adversary
    assert [phase.name for phase in method.phases()] == ["classifier", "embedding"][not judged :]
    terms = set(method.losses(outputs(), BATCH))
    assert terms == {"triplet", *(["energy"] if extension == "energy" else ["adversary"] if judged else [])}
    names = set(method.named_variables())
    matched = [{name for name in names if re.fullmatch(phase.variables, name)} for phase in method.phases()]
    assert set.union(*matched) == names
    assert sum(map(len, matched)) == len(names)


def test_the_terms_are_those_of_the_losses():
    given, x = outputs(), outputs()["image"]
    pairs = (tf.gather(x, [0, 1]), tf.gather(x, [4, 3]))  # of the classes 2 and 0, in the order of the batch
    energy = losses.energy_confusion(unit(x), LABELS)
    for params, expected in (
        ({}, {"triplet": losses.triplet_semihard_all(x, LABELS, margin=0.01)}),
        ({"loss": "multi_similarity"}, {"multi_similarity": losses.multi_similarity(x, LABELS)}),
        ({"loss": "supcon"}, {"supcon": losses.supervised_contrastive(x, LABELS)}),
        ({"loss": "angular"}, {"angular": losses.n_pair_angular(*pairs)}),
        ({"loss": "angular", "angular_form": "all_pairs"}, {"angular": losses.angular_all_pairs(x, LABELS)}),
        ({"triplet_margin": 0.5, "extension": "energy", "energy_weight": 2.0}, {"energy": 2 * energy}),
    ):
        terms = build(**{"extension": "base", **params}).losses(given, BATCH)
        for name, value in expected.items():
            assert float(terms[name]) == pytest.approx(float(value), rel=1e-5)


@pytest.mark.parametrize(
    ("name", "loss"),
    [
        ("proxy_nca", losses.proxy_nca),
        ("proxy_anchor", losses.proxy_anchor),
        ("norm_softmax", lambda x, y, p: losses.norm_softmax(unit(x), y, tf.transpose(p), scale=20.0)),
        ("soft_triple", lambda x, y, p: losses.soft_triple(x, y, tf.reshape(p, (CLASSES, 10, 3)))),
    ],
)
def test_proxies_learn_with_the_embedding(name, loss):
    method = build(loss=name, extension="base")
    kernel = method.heads["proxies"].kernel
    assert kernel.shape == (3, CLASSES * (10 if name == "soft_triple" else 1))
    expected = loss(outputs()["image"], LABELS, tf.transpose(kernel.value))
    assert float(method.losses(outputs(), BATCH)[name]) == pytest.approx(float(expected), rel=1e-5)
    assert "heads/proxies/kernel" in method.named_variables()


@pytest.mark.parametrize(
    ("params", "loss"),
    [
        ({"loss": "multi_similarity"}, losses.multi_similarity),
        ({"loss": "supcon"}, losses.supervised_contrastive),
        ({"loss": "angular", "angular_form": "all_pairs"}, losses.angular_all_pairs),
    ],
)
def test_former_batches_are_references_once_the_memory_is_full(params, loss):
    method = build(extension="base", memory=9, memory_weight=0.5, **params)
    batches = [outputs(seed)["image"] for seed in range(3)]
    terms = [float(method.losses({"image": x}, BATCH)["memory"]) for x in batches]
    assert terms[:2] == [0.0, 0.0]
    kept = tf.concat([batches[1], batches[0][:3]], axis=0)
    labels = tf.concat([LABELS, LABELS[:3]], axis=0)
    assert terms[2] == pytest.approx(0.5 * float(loss(batches[2], LABELS, kept, labels)), rel=1e-5)
    assert {"heads/memory/vectors", "heads/memory/labels"} <= set(method.named_variables())


@pytest.mark.parametrize("name", LOSSES)
def test_a_batch_without_pairs_is_finite(name: str):
    method, x = build(loss=name, extension="base"), outputs()["image"][:CLASSES]
    value = lambda: method.losses({"image": x}, {"label": tf.range(CLASSES)})[name]  # noqa: E731
    assert np.isfinite(value())
    slope = gradient(value, x)
    assert slope is None or np.isfinite(slope).all()


def test_the_adaptive_adversary_turns_the_gradient_and_not_the_classifiers():
    method = build(extension="adversary", classifier_dropout=0.0)
    given = outputs()
    features = given["image/features"]
    plain = gradient(lambda: losses.adaptive_adversary(method.heads["classifier"](features), LABELS), features)
    for factor in (0.4, -0.4, 0.0):
        method.heads["reversal"].factor.assign(factor)
        turned = gradient(lambda: method.losses(given, BATCH)["adversary"], features)
        np.testing.assert_allclose(turned, -factor * plain, rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("extension", ["adversary", "soft_adv"])
def test_the_classifier_minimises_its_loss_on_features_that_it_does_not_change(extension: str):
    method = build(extension=extension, classifier_dropout=0.0)
    given = outputs()
    judge = method.phases()[0]
    assert judge.detached
    assert gradient(lambda: judge.losses(given, BATCH)["classifier"], given["image/features"]) is None
    logits = method.heads["classifier"](given["image/features"])
    smoothing = 0.15 if extension == "soft_adv" else 0.0
    expected = losses.smoothed_softmax(logits, LABELS, smoothing)
    assert float(judge.losses(given, BATCH)["classifier"]) == pytest.approx(float(expected), rel=1e-5)


def test_the_soft_adversary_goes_with_the_classifier():
    method = build(extension="soft_adv", lambda_0=0.1, classifier_dropout=0.0)
    given = outputs()
    features = given["image/features"]
    plain = gradient(
        lambda: losses.smoothed_softmax(method.heads["classifier"](features), LABELS, 0.15), features
    )
    with_it = gradient(lambda: method.losses(given, BATCH)["adversary"], features)
    np.testing.assert_allclose(with_it, 0.1 * plain, rtol=1e-5, atol=1e-9)


def test_lambda_is_set_once_an_epoch_from_the_mean_of_the_last():
    method = build(extension="adversary", lambda_0=0.5, threshold=1.5)
    shown = lambda: float(method.gauges({}, {})["adversary/lambda"])  # noqa: E731
    assert shown() == pytest.approx(-0.5 * math.tanh(math.log(CLASSES) - 1.5))  # ln C before anything is known
    method.start_step(Clock(0, 2, 4))
    first = shown()
    judge, seen = method.phases()[0].losses, []
    for step in (0, 1):
        method.start_step(Clock(step, 2, 4))
        assert shown() == first
        seen.append(float(judge(outputs(step), BATCH)["classifier"]))
    method.start_step(Clock(2, 2, 4))
    assert shown() == pytest.approx(-0.5 * math.tanh(np.mean(seen) - 1.5), rel=1e-5)
    assert shown() != first
    kept = {"heads/reversal/factor", "heads/class_loss/total", "heads/class_loss/count", "heads/class_loss/mean"}
    assert kept <= set(method.named_variables())


def test_the_published_lambdas():
    given, expected = (VECTORS["soft_adapt_adv"][part] for part in ("inputs", "expected"))
    method = build(extension="adversary", lambda_0=given["lambda0"], threshold=given["l_thresh"])
    for class_loss, factor in expected["lambda_of_lc"].items():
        method.heads["class_loss"].last.assign(float(class_loss))
        method.start_step(Clock(0, 2, 4))
        assert float(method.heads["reversal"].factor) == pytest.approx(factor, abs=1e-6)


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"loss": "quadruplet"}, "--dml.loss=quadruplet is not known; choose one of triplet"),
        ({"extension": "all"}, "--dml.extension=all"),
        ({"attention": "max"}, "--dml.attention=max"),
        ({"angular_form": "x"}, "--dml.angular_form=x"),
        ({"lambda_0": -1.0}, "--dml.lambda_0=-1.0"),
        ({"triplet_margin": 0.0}, "--dml.triplet_margin=0.0"),
        ({"loss": "angular", "memory": 8}, "--dml.memory=8 needs a loss that takes references, which angular does not"),
        ({"centers": 0}, "--dml.centers=0"),
        ({"smoothing": 1.0}, "--dml.smoothing=1.0"),
        ({"angle": 90.0}, "--dml.angle=90.0"),
        ({"maps": " ,"}, "names no map"),
    ],
)
def test_wrong_options_are_explained(params, words):
    with pytest.raises(UserError) as caught:
        Dml.Params(**params)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_memory_longer_than_an_epoch_is_told_once():
    method = build(extension="base", memory=100)
    method.start_step(Clock(1, steps_per_epoch=2, total_steps=9))
    assert method.warning(1, {}) == ""
    method.start_step(Clock(2, steps_per_epoch=2, total_steps=9))
    assert "--dml.memory=100 is more than an epoch" in method.warning(2, {})
    assert method.warning(3, {}) == ""


def test_products_have_lengths_of_their_own():
    """As Proxy-NCA's release scales them for Stanford Online Products."""
    method = build(loss="proxy_nca", extension="base", embedding_length=1.0, proxy_length=8.0)
    proxies = np.transpose(method.heads["proxies"].kernel)
    expected = losses.proxy_nca(outputs()["image"], LABELS, proxies, scale=1.0, proxy_scale=8.0, smoothing=0.1)
    np.testing.assert_allclose(method.losses(outputs(), BATCH)["proxy_nca"], expected, rtol=1e-6)
