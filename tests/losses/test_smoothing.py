"""Smoothed targets in their three forms."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.losses.checks import agree, array, dtypes, random_batches, random_sides, seeds, sizes, vectors
from tests.reference import adversaries
from xmkeras.losses import random_modality_targets, smoothed_softmax, smoothed_targets

LOGITS, EXPECTED = vectors("soft_adapt_adv", "logits")


def test_both_forms_agree_with_the_published_targets():
    agree(smoothed_targets([2], 3, 0.15)[0], EXPECTED["smoothed_target"])
    agree(smoothed_targets([2], 3, 0.15, form="wrong")[0], EXPECTED["proxy_nca_style_smoothing"])
    agree(smoothed_softmax(LOGITS, [2], 0.15), EXPECTED["soft_ce"])
    agree(smoothed_softmax(LOGITS, [2], 0.0), EXPECTED["hard_ce"])


@given(seed=seeds, n=sizes, classes=sizes, dtype=dtypes, form=st.sampled_from(["all", "wrong"]))
@random_batches
def test_cross_entropy_agrees_with_the_loops(seed, n, classes, dtype, form):
    (logits, values), _, labels, _ = random_sides(seed, n, 1, classes, classes, dtype)
    agree(
        smoothed_softmax(logits, labels, 0.3, form=form), adversaries.smoothed_softmax(values, labels, 0.3, form), 2e-5
    )


def test_random_targets_lie_in_their_ranges_and_are_exchanged_pair_by_pair():
    visual, textual = (array(t) for t in random_modality_targets(4000, seed=0))
    flipped = visual < 0.5
    assert abs(flipped.mean() - 0.2) < 0.03
    assert (flipped == (textual > 0.5)).all()
    high, low = np.where(flipped, textual, visual), np.where(flipped, visual, textual)
    assert 0.8 <= high.min() < 0.81
    assert 1.19 < high.max() <= 1.2
    assert 0 <= low.min() < 0.01
    assert 0.29 < low.max() <= 0.3


def test_a_batch_is_flipped_as_a_whole():
    generator = keras.random.SeedGenerator(3)
    shares = {
        float((array(random_modality_targets(8, seed=generator, flip_scope="batch", flip=0.5)[0]) < 0.5).mean())
        for _ in range(30)
    }
    assert shares == {0.0, 1.0}


def test_an_integer_seed_gives_the_same_draw_again():
    agree(random_modality_targets(5, seed=7)[0], array(random_modality_targets(5, seed=7)[0]), 0, 0)


def test_unusable_options_are_named():
    with pytest.raises(ValueError, match="all, wrong"):
        smoothed_targets([0], 2, 0.1, form="some")
    with pytest.raises(ValueError, match=r"\[0, 1\]"):
        smoothed_targets([0], 2, 1.5)
    with pytest.raises(ValueError, match="sample, batch"):
        random_modality_targets(2, seed=0, flip_scope="pair")
