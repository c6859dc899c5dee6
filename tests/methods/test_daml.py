"""The method DAML: its terms against the published vectors, gradient signs, phases, schedule, options."""

from __future__ import annotations

import json
import pathlib
import re

import numpy as np
import pytest
import tensorflow as tf

from xmkeras.errors import UserError
from xmkeras.method import Clock
from xmkeras.methods.daml import METHOD, Daml
from xmkeras.models.encoder import Towers
from xmkeras.models.vectors import vector_encoder

VECTORS = json.loads((pathlib.Path(__file__).parents[1] / "vectors.json").read_text())["daml"]


def build(dim: int = 3, **params) -> Daml:
    sides = {
        "image": vector_encoder("image", 4, hidden="6", embedding_dim=dim),
        "text": vector_encoder("text", 5, embedding_dim=dim),
    }
    return Daml(Towers(sides), Daml.Params(**params), 2)


def outputs(method: Daml):
    generator = np.random.default_rng(0)
    batch = {
        "image_features": tf.constant(generator.normal(size=(6, 4)), tf.float32),
        "text_features": tf.constant(generator.normal(size=(6, 5)), tf.float32),
        "label": tf.constant([0, 1, 0, 1, 0, 1], tf.int64),
    }
    return method.outputs(batch, training=True), batch


def test_the_file_exports_its_method():
    assert METHOD is Daml


def test_the_correlation_is_the_published_one():
    given, expected = VECTORS["inputs"], VECTORS["expected"]
    method = build(alpha=0.0, beta=1.0, sigma=0.0, rho=1.0, xi=given["xi"])
    embeddings = {"image": tf.constant(given["f_V"]), "text": tf.constant(given["f_T"])}
    losses = method.losses(embeddings, {"label": tf.constant(given["labels"])})
    assert float(losses["correlation"]) == pytest.approx(expected["L_cor_rho1_div_batch"], rel=1e-5)
    assert set(losses) == {"correlation"}


def test_the_terms_carry_their_weights():
    method = build(alpha=0.01, beta=0.1, sigma=1.0)
    embeddings, batch = outputs(method)
    light = method.losses(embeddings, batch)
    object.__setattr__(method.params, "alpha", 1.0)
    object.__setattr__(method.params, "beta", 1.0)
    full = method.losses(embeddings, batch)
    assert float(full["discrimination"]) == pytest.approx(100 * float(light["discrimination"]), rel=1e-5)
    assert float(full["correlation"]) == pytest.approx(10 * float(light["correlation"]), rel=1e-5)
    assert float(full["adversary"]) == pytest.approx(float(light["adversary"]), rel=1e-6)


def test_the_reversed_gradient_has_the_weight_sigma_times_lambda():
    method = build(sigma=0.5, schedule="constant", factor=3.0)
    embeddings, batch = outputs(method)
    head = method.heads["modality"]
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(embeddings)
        reversed_loss = method.losses(embeddings, batch)["adversary"]
        plain = method._modality_loss(embeddings["image"], embeddings["text"])
    expected = tape.gradient(plain, embeddings["image"])
    assert float(tf.norm(expected)) > 1e-6
    np.testing.assert_allclose(tape.gradient(reversed_loss, embeddings["image"]), -1.5 * expected, rtol=1e-5)
    kernels = head.trainable_variables
    for one, two in zip(tape.gradient(reversed_loss, kernels), tape.gradient(plain, kernels), strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-5)


def test_the_schedule_follows_the_run():
    method = build(sigma=2.0)
    seen = []
    for step in (0, 10, 25, 50, 100):
        method.start_step(Clock(step, steps_per_epoch=7, total_steps=100))
        seen.append(float(method.heads["reversal"].factor))
    expected = [2 * VECTORS["expected"]["grl_lambda_p"][p] for p in ("0.0", "0.1", "0.25", "0.5", "1.0")]
    assert seen == pytest.approx(expected, abs=1e-6)


def test_the_head_learns_alone_and_less_often():
    projectors, head = build(head_every=4).phases()
    assert (projectors.every, head.every) == (1, 4)
    names = set(build().named_variables())
    of_head = {name for name in names if re.fullmatch(head.variables, name)}
    of_projectors = {name for name in names if re.fullmatch(projectors.variables, name)}
    assert of_head | of_projectors == names
    assert not of_head & of_projectors
    assert len(of_head) == 6
    assert any(name.startswith("heads/label") for name in of_projectors)


def test_the_heads_loss_does_not_reach_the_towers():
    method = build()
    embeddings, batch = outputs(method)
    with tf.GradientTape() as tape:
        tape.watch(embeddings)
        loss = method.phases()[1].losses(embeddings, batch)["modality"]
    assert tape.gradient(loss, embeddings) == {"image": None, "text": None}


@pytest.mark.parametrize(
    ("weights", "heads", "phases"),
    [
        ({"sigma": 0.0}, {"label"}, 1),
        ({"beta": 0.0}, {"label", "reversal", "modality"}, 2),
        ({"alpha": 0.0}, {"reversal", "modality"}, 2),
    ],
)
def test_a_weight_of_zero_leaves_a_term_out_with_its_head(weights, heads, phases):
    method = build(**weights)
    assert set(method.heads) == heads
    assert len(method.phases()) == phases


def test_the_distance_of_retrieval_is_an_option():
    assert build().similarity == "euclidean"
    assert build(distance="cosine").similarity == "cosine"


def test_ranking_by_posteriors_is_an_option():
    plain, method = build(), build(ranking="posterior")
    assert plain.retrieval_towers is plain.towers
    assert method.retrieval_towers.embedding_dim == 2 + 2
    assert method.similarity == "cosine"
    assert method.named_variables().keys() == plain.named_variables().keys()
    _, batch = outputs(method)
    head, towers = method.heads["label"], method.retrieval_towers
    embedded = method.outputs(batch, training=False)
    p, q = (tf.nn.softmax(head(embedded[side])) for side in ("image", "text"))
    image, text = (towers.encode(side, batch)[side] for side in ("image", "text"))
    np.testing.assert_allclose(image @ tf.transpose(text), p @ tf.transpose(q), atol=1e-6)


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"alpha": -1.0}, "--daml.alpha=-1.0"),
        ({"alpha": 0.0, "beta": 0.0}, "leaves nothing to learn"),
        ({"head_every": 0}, "--daml.head_every=0"),
        ({"xi": 1.0}, "--daml.xi=1.0"),
        ({"rho": 0.0}, "--daml.rho=0.0"),
        ({"schedule": "linear"}, "dann, constant"),
        ({"distance": "l1"}, "euclidean, cosine"),
        ({"ranking": "posterior", "alpha": 0.0}, "needs the label head"),
        ({"ranking": "labels"}, "embedding, posterior"),
        ({"modality_hidden": "wide"}, "--daml.modality_hidden=wide"),
    ],
)
def test_options_out_of_range_are_explained(params, words):
    with pytest.raises(UserError) as error:
        Daml.Params(**params)
    assert words in str(error.value)
