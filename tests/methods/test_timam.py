"""The method TIMAM: published numbers of its discriminator, gradients of both phases, gauges, options."""

from __future__ import annotations

import json
import pathlib
import re

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.conftest import ROOT
from tests.models.tiny_bert import write_hugging_face
from xmkeras.data.wordpiece import WordPieceTokenizer
from xmkeras.errors import UserError
from xmkeras.losses import classification, modality
from xmkeras.losses.cmpm import cmpm_terms
from xmkeras.methods.timam import METHOD, Timam
from xmkeras.models.bert_weights import load_bert
from xmkeras.models.encoder import Towers
from xmkeras.models.towers import bert_encoder, picture_encoder
from xmkeras.models.vectors import vector_encoder
from xmkeras.training.freezing import Freezer
from xmkeras.training.groups import parse_stage

VECTORS = json.loads((pathlib.Path(__file__).parents[1] / "vectors.json").read_text())["timam_discriminator"]


def build(dim: int = 3, **params) -> Timam:
    keras.utils.set_random_seed(0)
    sides = {
        "image": vector_encoder("image", 4, hidden="6", embedding_dim=dim),
        "text": vector_encoder("text", 5, embedding_dim=dim),
    }
    return Timam(Towers(sides), Timam.Params(**params), 3)


def embeddings(n: int = 6, dim: int = 3):
    generator = np.random.default_rng(0)
    outputs = {
        "image": tf.constant(generator.normal(1, 1, (n, dim)), tf.float32),
        "text": tf.constant(generator.normal(-1, 2, (n, dim)), tf.float32),
    }
    return outputs, {"label": tf.constant(np.arange(n) % 3, tf.int64)}


class Given(keras.layers.Layer):
    """Stands for the discriminator, or for its targets: returns the published numbers."""

    def __init__(self, *values):
        super().__init__()
        self.values = [tf.constant(value, tf.float32) for value in values]
        self.calls = 0

    def __call__(self, *_, **__):
        if len(self.values) == 2 and self.values[0].shape.rank == 1:
            return tuple(self.values)
        self.calls += 1
        return self.values[(self.calls - 1) % 2]


def published(**params) -> Timam:
    method, given = build(**params), VECTORS["inputs"]
    columns = [np.array(given[f"logits_{side}"])[:, None] for side in ("visual", "text")]
    method.heads["discriminator"] = Given(*columns)
    return method


def test_the_file_exports_its_method():
    assert METHOD is Timam


def test_the_discriminators_loss_is_the_published_one():
    method, given, expected = published(), VECTORS["inputs"], VECTORS["expected"]
    outputs, batch = embeddings(3)
    visual, text, flip = (np.array(given[name]) for name in ("targets_visual", "targets_text", "flip"))
    for targets, name in (
        ((visual, text), "D_smoothed"),
        ((np.where(flip, text, visual), np.where(flip, visual, text)), "D_smoothed_flipped"),
        ((np.ones(3), np.zeros(3)), "D_hard"),
    ):
        method.heads["targets"] = Given(*targets)
        loss = method.phases()[0].losses(outputs, batch)["discriminator"]
        assert float(loss) == pytest.approx(expected[name], rel=1e-5)


@pytest.mark.parametrize(
    ("form", "name"), [("swap", "G_swapped_hard"), ("minimax", "G_minimax_minus_D_hard"), ("grl", "D_hard")]
)
def test_the_towers_loss_is_the_published_one(form, name):
    outputs, batch = embeddings(3)
    method = published(adversarial=form, adversary_weight=1.0)
    assert float(method.losses(outputs, batch)["adversary"]) == pytest.approx(VECTORS["expected"][name], rel=1e-5)


def test_the_terms_and_their_weights():
    outputs, batch = embeddings()
    method = build(identification_weight=2.0, matching_weight=3.0, adversary_weight=0.5, scale=1.5)
    terms = method.losses(outputs, batch)
    assert set(terms) == {"identity_image", "identity_text", "cmpm_i2t", "cmpm_t2i", "adversary"}
    head = method.heads["identity"]
    head.bias.assign([0.3, -0.2, 0.1])
    terms = method.losses(outputs, batch)
    for side in ("image", "text"):
        loss = classification.norm_softmax(outputs[side], batch["label"], head.kernel, head.bias, 1.5)
        assert float(terms[f"identity_{side}"]) == pytest.approx(2 * float(loss), rel=1e-6)
    matching = cmpm_terms(outputs["image"], outputs["text"], batch["label"])
    np.testing.assert_allclose([terms["cmpm_i2t"], terms["cmpm_t2i"]], 3 * np.array(matching), rtol=1e-6)
    judge = method.heads["discriminator"]
    adversary = modality.modality_generator(judge(outputs["image"]), judge(outputs["text"]))
    assert float(terms["adversary"]) == pytest.approx(0.5 * float(adversary), rel=1e-6)


def test_each_modality_may_have_class_weights_of_its_own():
    method = build(share=False)
    assert {"image_identity", "text_identity"} <= set(method.heads)
    outputs, batch = embeddings()
    before = method.losses(outputs, batch)
    method.heads["text_identity"].bias.assign([5.0, 0.0, 0.0])
    after = method.losses(outputs, batch)
    assert float(after["identity_image"]) == float(before["identity_image"])
    assert float(after["identity_text"]) != float(before["identity_text"])


def test_the_discriminator_learns_first_and_alone():
    judge, towers = build(d_every=3).phases()
    assert (judge.name, judge.every, judge.detached) == ("discriminator", 3, True)
    assert (towers.name, towers.every, towers.detached) == ("towers", 1, False)
    names = set(build().named_variables())
    of_judge = {name for name in names if re.fullmatch(judge.variables, name)}
    of_towers = {name for name in names if re.fullmatch(towers.variables, name)}
    assert of_judge | of_towers == names
    assert not of_judge & of_towers
    assert "heads/discriminator/logit/kernel" in of_judge
    assert "heads/identity/kernel" in of_towers


def test_the_discriminators_phase_sends_nothing_into_the_towers():
    method = build()
    outputs, batch = embeddings()
    with tf.GradientTape() as tape:
        tape.watch(outputs)
        loss = method.phases()[0].losses(outputs, batch)["discriminator"]
    assert tape.gradient(loss, outputs) == {"image": None, "text": None}


def test_statistics_move_in_the_discriminators_phase_only():
    method = build()
    outputs, batch = embeddings()
    moving = method.heads["discriminator"].moving_mean
    method.losses(outputs, batch)
    method.gauges(outputs, batch)
    np.testing.assert_array_equal(moving, np.zeros(256))
    method.phases()[0].losses(outputs, batch)
    assert np.abs(np.asarray(moving)).max() > 0


def gradients(method: Timam, outputs, batch):
    with tf.GradientTape() as tape:
        tape.watch(outputs)
        loss = method.losses(outputs, batch)["adversary"]
    return tape.gradient(loss, outputs["image"])


def test_minimax_and_reversal_send_the_same_gradient_into_the_towers():
    outputs, batch = embeddings()
    minimax, reversal = (build(adversarial=form, adversary_weight=0.7) for form in ("minimax", "grl"))
    reversal.heads["discriminator"].set_weights(minimax.heads["discriminator"].get_weights())
    one, two = gradients(minimax, outputs, batch), gradients(reversal, outputs, batch)
    assert float(tf.norm(one)) > 1e-4
    np.testing.assert_allclose(one, two, rtol=1e-4, atol=1e-7)


def test_all_forms_move_images_towards_the_side_of_texts():
    outputs, batch = embeddings()
    for form in ("swap", "minimax", "grl"):
        method = build(adversarial=form)
        judge = method.heads["discriminator"]
        step = outputs["image"] - 0.1 * gradients(method, outputs, batch)
        assert float(tf.reduce_mean(judge(step))) < float(tf.reduce_mean(judge(outputs["image"]))), form


def test_the_reversal_trains_all_in_one_phase():
    (phase,) = build(adversarial="grl").phases()
    assert phase.variables == ".*"
    outputs, batch = embeddings()
    method = build(adversarial="grl", adversary_weight=0.1)
    judge = method.heads["discriminator"]
    with tf.GradientTape(persistent=True) as tape:
        joint = method.losses(outputs, batch)["adversary"]
        alone = modality.modality_discriminator(judge(outputs["image"]), judge(outputs["text"]))
    variables = [variable.value for variable in judge.trainable_variables]
    for one, two in zip(tape.gradient(joint, variables), tape.gradient(alone, variables), strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-5, atol=1e-7)


def test_normalised_inputs_hide_the_lengths():
    outputs, batch = embeddings()
    longer = {"image": 7 * outputs["image"], "text": outputs["text"]}
    for d_input, equal in (("normalised", True), ("raw", False)):
        method = build(d_input=d_input)
        method.heads["discriminator"].epsilon = 1.0
        one, two = (float(method.losses(o, batch)["adversary"]) for o in (outputs, longer))
        assert (one == pytest.approx(two, rel=1e-5)) == equal


def test_the_targets_change_from_step_to_step_and_are_in_the_checkpoint():
    method = build()
    outputs, batch = embeddings()
    assert "heads/targets/seed_generator_state" in method.named_variables()
    losses = {float(method.phases()[0].losses(outputs, batch)["discriminator"]) for _ in range(4)}
    assert len(losses) == 4


def test_gauges():
    outputs, batch = embeddings()
    method = build()
    method.heads["discriminator"] = Given([[1.0], [1.0], [-1.0], [2.0]], [[-1.0], [1.0], [1.0], [1.0]])
    gauges = {name: float(value) for name, value in method.gauges(outputs, batch).items()}
    gap = np.linalg.norm(np.mean(outputs["image"], axis=0) - np.mean(outputs["text"], axis=0))
    assert gauges["gap/mean_distance"] == pytest.approx(gap, rel=1e-5)
    assert gauges["discriminator/accuracy_images"] == 75
    assert gauges["discriminator/accuracy_texts"] == 25
    assert gauges["discriminator/accuracy"] == 50
    assert 0 < gauges["gap/mean_distance_of_units"] < 2
    assert set(build(adversarial="none").gauges(outputs, batch)) == {"gap/mean_distance", "gap/mean_distance_of_units"}


def test_a_discriminator_that_sits_at_an_end_is_named_once():
    method = build(stuck_steps=20)

    def told(accuracies):
        return [method.warning(10 * step, {"discriminator/accuracy": value}) for step, value in enumerate(accuracies)]

    assert told([50, 100, 100, 98]) == [""] * 4
    after = told([50, 100, 100, 100, 100, 50, 0, 0, 0, 0])
    assert [bool(text) for text in after] == [False] * 3 + [True] + [False] * 4 + [True, False]
    assert "100 % of all cases since step 10" in after[3]
    assert "d_input=normalised" in after[3]
    assert "0 % of all cases" in after[8]
    assert "adversary_weight" in after[8]
    assert build(adversarial="none").warning(1000, {}) == ""


@pytest.mark.parametrize(
    ("params", "heads"),
    [
        ({"adversarial": "none"}, {"identity"}),
        ({"adversary_weight": 0.0}, {"identity"}),
        ({"identification_weight": 0.0}, {"discriminator", "targets"}),
        ({"adversarial": "grl"}, {"identity", "discriminator", "reversal"}),
    ],
)
def test_what_is_left_out_has_no_head(params, heads):
    method = build(**params)
    assert set(method.heads) == heads
    outputs, batch = embeddings()
    assert all(np.isfinite(float(loss)) for phase in method.phases() for loss in phase.losses(outputs, batch).values())


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"matching_weight": -1.0}, "--timam.matching_weight=-1.0"),
        ({"matching_weight": 0.0, "identification_weight": 0.0}, "leaves nothing"),
        ({"d_every": 0}, "--timam.d_every=0"),
        ({"flip": 1.5}, "--timam.flip=1.5"),
        ({"adversarial": "gan"}, "swap, grl, minimax, none"),
        ({"d_input": "unit"}, "raw, normalised"),
        ({"flip_scope": "row"}, "sample, batch"),
        ({"image_targets": "1"}, "--timam.image_targets=1 is no range"),
        ({"text_targets": "0.3,0"}, "the lower first"),
    ],
)
def test_options_out_of_range_are_explained(params, words):
    with pytest.raises(UserError) as error:
        Timam.Params(**params)
    assert words in str(error.value)


def test_a_stage_that_freezes_bert_stops_its_dropout(tmp_path):
    """The first stage of the flagfiles; the class weights and the rest of the text tower go on."""
    stage = next(line for line in (ROOT / "flags/methods/timam.cfg").read_text().splitlines() if "frozen=" in line)
    bert = load_bert(str(write_hugging_face(tmp_path)))
    tokenizer = WordPieceTokenizer(bert.vocabulary)
    images = picture_encoder((32, 32), image_width=0.25, embedding_dim=4)
    texts = bert_encoder(bert, bert_dropout=0.5, embedding_dim=4, lstm_units=3)
    method = Timam(Towers({"image": images, "text": texts}), Timam.Params(), 3)
    freezer, ids = Freezer(method), tokenizer(["a red circle", "square"])
    text = texts.models["text_encoder"]
    states = keras.Model(text.input, text.get_layer("bert_layer_1").output)
    freezer.freeze(parse_stage(stage.removeprefix("--stage=")).groups())
    np.testing.assert_allclose(states(ids, training=True), states(ids), atol=1e-6)
    trained = {name for name, variable in method.named_variables().items() if variable.trainable}
    assert not [name for name in trained if name.startswith("text_encoder/bert_")]
    assert {"text_encoder/joint_projection/kernel", "heads/identity/kernel"} <= trained
    freezer.freeze(())
    assert np.abs(states(ids, training=True) - states(ids)).max() > 0.1
    assert text.get_layer("bert_embeddings").words.trainable
