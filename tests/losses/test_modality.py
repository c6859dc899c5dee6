"""Modality adversaries of DAML and TIMAM against the published numbers and loop twins."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given

from tests.losses.checks import (
    agree,
    dtypes,
    random_batches,
    random_sides,
    seeds,
    sizes,
    value_and_gradients,
    vectors,
)
from tests.reference import adversaries
from xmkeras.losses import dann_factor, modality_discriminator, modality_generator, modality_two_way

VISUAL, TEXTUAL, VISUAL_TARGETS, TEXT_TARGETS, FLIP, TIMAM = vectors(
    "timam_discriminator", "logits_visual", "logits_text", "targets_visual", "targets_text", "flip"
)
IMAGE, TEXT, DAML = vectors("daml", "modality_logits_image", "modality_logits_text")


def test_the_two_way_head_agrees_with_the_published_number():
    agree(modality_two_way(IMAGE, TEXT), DAML["L_adv"])


def test_the_discriminator_agrees_with_the_published_numbers():
    agree(modality_discriminator(VISUAL, TEXTUAL), TIMAM["D_hard"])
    smoothed = {"image_targets": VISUAL_TARGETS, "text_targets": TEXT_TARGETS}
    agree(modality_discriminator(VISUAL, TEXTUAL, **smoothed), TIMAM["D_smoothed"])
    flipped = {
        "image_targets": np.where(FLIP, TEXT_TARGETS, VISUAL_TARGETS),
        "text_targets": np.where(FLIP, VISUAL_TARGETS, TEXT_TARGETS),
    }
    agree(modality_discriminator(VISUAL[:, None], TEXTUAL[:, None], **flipped), TIMAM["D_smoothed_flipped"])


def test_a_target_above_one_is_not_clipped():
    def loss(z):
        return modality_discriminator(z, TEXTUAL, image_targets=VISUAL_TARGETS, text_targets=TEXT_TARGETS)

    _, (gradient,) = value_and_gradients(loss, VISUAL.astype("f4"))
    agree(3 * gradient[1], TIMAM["grad_logit_visual_target_1p15"])


def test_the_generator_agrees_with_the_published_numbers():
    agree(modality_generator(VISUAL, TEXTUAL), TIMAM["G_swapped_hard"])
    agree(modality_generator(VISUAL, TEXTUAL, form="minimax"), TIMAM["G_minimax_minus_D_hard"])
    with pytest.raises(ValueError, match="swap, minimax"):
        modality_generator(VISUAL, TEXTUAL, form="grl")


def test_the_schedule_agrees_with_the_published_numbers():
    for progress, factor in DAML["grl_lambda_p"].items():
        agree(dann_factor(float(progress)), factor)


@given(seed=seeds, n=sizes, m=sizes, dtype=dtypes)
@random_batches
def test_agrees_with_the_loops(seed, n, m, dtype):
    (image, x), (text, z), _, _ = random_sides(seed, n, m, 2, 1, dtype)
    agree(modality_two_way(image, text), adversaries.two_way(x, z), 2e-5)
    targets = np.random.default_rng(seed).uniform(-0.2, 1.2, n + m)
    got = modality_discriminator(image[:, 0], text[:, 0], image_targets=targets[:n], text_targets=targets[n:])
    agree(got, adversaries.discriminator(x[:, 0], z[:, 0], targets[:n], targets[n:]), 2e-5, 1e-5)
    swapped = adversaries.discriminator(x[:, 0], z[:, 0], np.zeros(n), np.ones(m))
    agree(modality_generator(image[:, 0], text[:, 0]), swapped, 2e-5)
