"""Soft-Adv and Adapt-Adv against the published numbers, gradients included."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from tests.losses.checks import agree, array, value_and_gradients, vectors
from tests.reference import adversaries
from xmkeras.layers import GradientReversal
from xmkeras.losses import adaptive_adversary, adaptive_adversary_factor, soft_adversary

LOGITS, EXPECTED = vectors("soft_adapt_adv", "logits")
THETA, X, W, LABEL, LAMBDAS, TOY = vectors("adapt_adv_toy_gradient", "theta", "x", "w", "label", "lambdas")


def test_soft_adv_agrees_with_the_published_numbers():
    agree(soft_adversary(LOGITS, [2], weight=1.0), EXPECTED["soft_ce"])
    agree(0.7 + array(soft_adversary(LOGITS, [2], weight=0.5)), EXPECTED["soft_adv_total_lm0p7_lam0p5"])
    agree(adaptive_adversary(LOGITS, [2]), EXPECTED["hard_ce"])


def test_soft_adv_agrees_with_the_loops():
    logits, labels = np.random.default_rng(0).normal(0, 2, (6, 5)), [0, 4, 4, 1, 2, 3]
    agree(soft_adversary(logits, labels), 0.5 * adversaries.smoothed_softmax(logits, labels, 0.15, "all"))


def test_the_factor_agrees_at_every_published_loss():
    for class_loss, factor in EXPECTED["lambda_of_lc"].items():
        agree(adaptive_adversary_factor(float(class_loss)), factor)
    agree(-array(adaptive_adversary_factor(3.0)), EXPECTED["feature_grad_factor_at_lc_3"])
    agree(-array(adaptive_adversary_factor(0.5)), EXPECTED["feature_grad_factor_at_lc_0p5"])


@pytest.mark.parametrize(("which", "name"), [(0, "dtheta_lambda_0p4"), (1, "dtheta_lambda_minus_0p4")])
def test_the_sign_turns_the_features_but_never_the_classifier(which, name):
    reversal = GradientReversal(float(LAMBDAS[which]))

    def total(theta, w):
        feature = keras.ops.reshape(theta * float(X), (1, 1))
        logits = keras.ops.matmul(reversal(feature), keras.ops.reshape(w, (1, 3)))
        # The published gradients contain 0.6 of a metric loss.
        metric_loss = keras.ops.square(theta - 0.5)
        return metric_loss + adaptive_adversary(logits, [int(LABEL)])

    theta, w = np.float32(THETA), W.astype("f4")
    value, (d_theta, d_w) = value_and_gradients(total, theta, w)
    agree(value, (THETA - 0.5) ** 2 + TOY["l_c"])
    agree(d_w, TOY["dw_any_lambda"])
    agree(d_theta, TOY[name])
