"""The method CMPM: its terms, classifiers, options, and what belongs to the inference towers."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from tests.models.tiny import tiny_towers, tokenizer
from tests.reference import hinges, matching, pairwise, ranking
from xmkeras.errors import UserError
from xmkeras.methods.cmpm import CLASSIFIERS, METHOD, Cmpm

LABELS = np.array([0, 1, 0, 2, 1])


@pytest.fixture(scope="module")
def towers():
    return tiny_towers()


@pytest.fixture(scope="module")
def embeddings():
    image, text = np.random.default_rng(0).normal(0, 2, (2, 5, 8)).astype("f4")
    return {"image": tf.constant(image), "text": tf.constant(text)}


def losses(method: Cmpm, embeddings) -> dict[str, float]:
    return {name: float(value) for name, value in method.losses(embeddings, {"label": LABELS}).items()}


def test_the_file_exports_its_method():
    assert METHOD is Cmpm


def test_matching_alone_has_cmpm_terms_and_no_head(towers, embeddings):
    method = Cmpm(towers, Cmpm.Params(epsilon=1e-3, matching_weight=2.0), 3)
    i2t, t2i = matching.cmpm_terms(*(embeddings[k].numpy() for k in ("image", "text")), LABELS, epsilon=1e-3)
    assert losses(method, embeddings) == pytest.approx({"cmpm_i2t": 2 * i2t, "cmpm_t2i": 2 * t2i}, rel=1e-5)
    assert set(method.named_parts()) == {"image_backbone", "image_head", "text_encoder"}


def test_the_ablation_reverses_the_divergence(towers, embeddings):
    method = Cmpm(towers, Cmpm.Params(divergence="qp"), 3)
    want = matching.cmpm_terms(*(embeddings[k].numpy() for k in ("image", "text")), LABELS, divergence="qp")
    assert tuple(losses(method, embeddings).values()) == pytest.approx(want, rel=1e-5)


def test_each_loss_of_table_5_agrees_with_its_loops_and_equal_labels_are_no_negatives(towers, embeddings):
    image, text = (embeddings[k].numpy() for k in ("image", "text"))
    want = {
        "bi_rank": hinges.ranking(ranking.cosine_scores(image, text), 0.3, "sum", row_ids=LABELS, column_ids=LABELS),
        "n_pair": pairwise.n_pair(image, text, LABELS, LABELS) + pairwise.n_pair(text, image, LABELS, LABELS),
        "histogram": pairwise.histogram(image, LABELS, text, LABELS, bins=7),
    }
    for loss, value in want.items():
        method = Cmpm(towers, Cmpm.Params(loss=loss, margin=0.3, bins=7, matching_weight=2.0), 3)
        assert losses(method, embeddings) == pytest.approx({loss: 2.0 * value}, rel=1e-5)


@pytest.mark.parametrize("classifier", CLASSIFIERS[1:])
def test_each_classifier_agrees_with_its_loops(towers, embeddings, classifier):
    params = Cmpm.Params(matching=False, classifier=classifier, classifier_weight=0.5, scale=2.0)
    method = Cmpm(towers, params, 3)
    head = method.heads["classifier"]
    weights = np.random.default_rng(1).normal(size=(8, 3))
    bias = [np.array([0.1, -0.2, 0.3])] if len(head.weights) == 2 else []
    head.set_weights([weights, *bias])
    image, text = (embeddings[k].numpy() for k in ("image", "text"))
    want = {
        "softmax": lambda: sum(matching.softmax_loss(x, LABELS, weights, *bias) for x in (image, text)),
        "norm_softmax": lambda: sum(
            matching.norm_softmax(x, LABELS, weights, scale=2.0) for x in (image, text)
        ),
        "projection_softmax": lambda: sum(
            matching.softmax_loss(matching.project(a, b), LABELS, weights, *bias)
            for a, b in ((image, text), (text, image))
        ),
        "cmpc": lambda: sum(matching.cmpc_terms(image, text, LABELS, weights, scale=2.0)),
    }[classifier]()
    assert losses(method, embeddings) == pytest.approx({classifier: 0.5 * want}, rel=1e-5)


def test_both_losses_train_every_variable_and_the_head_is_no_tower(towers):
    method = Cmpm(towers, Cmpm.Params(classifier="cmpc"), 3)
    batch = {
        "image": np.random.default_rng(0).uniform(0, 255, (5, 32, 32, 3)).astype("f4"),
        "text": tokenizer()(tf.constant(["a red heart", "a house", "red", "a green apple", "two"])),
        "label": LABELS,
    }

    @tf.function
    def gradients():
        with tf.GradientTape() as tape:
            terms = method.losses(method.outputs(batch, training=True), batch)
            loss = tf.add_n(list(terms.values()))
        return terms, tape.gradient(loss, trainable)

    trainable = [v.value for v in method.named_variables().values() if v.trainable]
    terms, found = gradients()
    assert set(terms) == {"cmpm_i2t", "cmpm_t2i", "cmpc"}
    assert all(g is not None and np.isfinite(tf.convert_to_tensor(g)).all() for g in found)
    assert "heads/classifier/kernel" in method.named_variables()
    assert not any("classifier" in v.path for part in towers.named_parts.values() for v in part.variables)


@pytest.mark.parametrize(
    ("params", "sentence"),
    [
        ({"divergence": "js"}, "--cmpm.divergence=js is not known; choose one of pq, qp"),
        ({"classifier": "svm"}, "choose one of none, softmax, norm_softmax, projection_softmax, cmpc"),
        ({"epsilon": 0.0}, "--cmpm.epsilon=0.0 has to be greater than 0"),
        ({"epsilon": float("nan")}, "greater than 0"),
        ({"scale": -1.0}, "--cmpm.scale=-1.0 has to be greater than 0"),
        ({"classifier_weight": -1.0}, "--cmpm.classifier_weight=-1.0 has to be 0 or greater"),
        ({"matching": False}, "leaves no loss"),
    ],
)
def test_options_out_of_range_are_one_sentence(params, sentence):
    with pytest.raises(UserError, match=sentence):
        Cmpm.Params(**params)


def test_every_option_explains_itself():
    for field in dataclasses.fields(Cmpm.Params):
        assert field.metadata["help"].endswith("."), field.name
