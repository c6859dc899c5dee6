"""DAML's correlation and label losses against the published numbers and loop twins."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.losses.checks import (
    agree,
    array,
    difference_quotients,
    dtypes,
    random_batches,
    random_sides,
    seeds,
    sizes,
    value_and_gradients,
    vectors,
)
from tests.reference import adversaries
from xmkeras.losses import coupled_correlation, generalised_logistic, label_discrimination, modality_two_way
from xmkeras.losses.pairs import squared_distances

IMAGE, TEXT, LABELS, IMAGE_LOGITS, TEXT_LOGITS, IMAGE_HEAD, TEXT_HEAD, EXPECTED = vectors(
    "daml",
    "f_V",
    "f_T",
    "labels",
    "class_logits_image",
    "class_logits_text",
    "modality_logits_image",
    "modality_logits_text",
)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("L_cor_rho1", {"sharpness": 1.0, "reduction": "sum"}),
        ("L_cor_rho10", {"reduction": "sum"}),
        ("L_cor_rho1_div_batch", {"sharpness": 1.0}),
        ("cor_pair_sum_rho1", {"sharpness": 1.0, "reduction": "sum", "pair_term": "none"}),
        ("cor_pair_sum_rho10", {"reduction": "sum", "pair_term": "none"}),
    ],
)
def test_correlation_agrees_with_the_published_numbers(name, options):
    agree(coupled_correlation(IMAGE, TEXT, LABELS, **options), EXPECTED[name])


def test_both_pair_terms_agree():
    without = array(coupled_correlation(IMAGE, TEXT, LABELS, pair_term="none", reduction="sum"))
    for pair_term, name in (("norms", "cor_pair_norm_sum"), ("frobenius", "frobenius_acmr_style")):
        value = array(coupled_correlation(IMAGE, TEXT, LABELS, pair_term=pair_term, reduction="sum"))
        agree(value - without, EXPECTED[name], atol=1e-5)


def test_distances_and_hinge_arguments_agree():
    distances = array(squared_distances(IMAGE.astype("f4"), TEXT.astype("f4")))
    agree(distances, EXPECTED["d"], atol=2e-6)
    signs = np.where(LABELS[:, None] == LABELS, 1, -1)
    agree(1 - signs * (3 - distances), EXPECTED["hinge_argument"], atol=2e-6)


def test_label_loss_and_the_objective_of_the_projectors_agree():
    discrimination = label_discrimination(IMAGE_LOGITS, TEXT_LOGITS, LABELS)
    agree(discrimination, EXPECTED["L_dis"])
    correlation = coupled_correlation(IMAGE, TEXT, LABELS, sharpness=1.0)
    objective = 0.01 * discrimination + 0.1 * correlation - modality_two_way(IMAGE_HEAD, TEXT_HEAD)
    agree(objective, EXPECTED["projector_objective_a0p01_b0p1_s1"])


@given(
    seed=seeds,
    n=sizes,
    m=sizes,
    dtype=dtypes,
    classes=st.integers(1, 4),
    pair_term=st.sampled_from(["norms", "frobenius", "none"]),
)
@random_batches
def test_agrees_with_the_loops(seed, n, m, dtype, classes, pair_term):
    m = m if pair_term == "none" else n
    (image, x), (text, z), labels, others = random_sides(seed, n, m, 3, classes, dtype)
    got = coupled_correlation(image, text, labels, text_labels=others, pair_term=pair_term, threshold=2.0)
    agree(got, adversaries.coupled_correlation(x, z, labels, others, 2.0, 10.0, pair_term) / n, 2e-5, 2e-5)


@given(seed=seeds, n=sizes, dtype=dtypes, classes=sizes)
@random_batches
def test_label_loss_agrees_with_the_loops(seed, n, dtype, classes):
    (image, x), (text, z), labels, _ = random_sides(seed, n, n, classes, classes, dtype)
    want = sum(adversaries.smoothed_softmax(side, labels, 0.0, "all") for side in (x, z))
    agree(label_discrimination(image, text, labels), want, 2e-5)


def test_gradients_agree_with_differences_of_the_loops():
    def twin(x, z):
        return adversaries.coupled_correlation(x, z, LABELS, LABELS, 3.0, 10.0, "norms") / len(x)

    _, got = value_and_gradients(
        lambda x, z: coupled_correlation(x, z, LABELS), IMAGE.astype("f4"), TEXT.astype("f4")
    )
    for gradient, quotient in zip(got, difference_quotients(twin, IMAGE, TEXT), strict=True):
        agree(gradient, quotient, 1e-4, 2e-5)


def test_the_logistic_nears_a_hinge():
    agree(generalised_logistic(np.array([-1.0, 0.0, 2.0]), 1000.0), [0, np.log(2) / 1000, 2], atol=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"threshold": 1.0}, "threshold must exceed 1"),
        ({"sharpness": 0.0}, "sharpness 0"),
        ({"pair_term": "l1"}, "norms, frobenius, none"),
        ({"reduction": "max"}, "mean, sum"),
    ],
)
def test_unusable_options_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        coupled_correlation(IMAGE, TEXT, LABELS, **options)
