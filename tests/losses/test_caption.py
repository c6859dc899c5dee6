"""Caption likelihood against the published numbers and a loop twin."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.losses.checks import agree, dtypes, random_batches, rounded, seeds, sizes, value_and_gradients, vectors
from tests.reference import adversaries
from xmkeras.losses import caption_nll

LOGITS, TARGETS, MASK, EXPECTED = vectors("vsrn", "caption_logits", "caption_targets", "caption_mask")


def test_agrees_with_the_published_numbers():
    agree(caption_nll(LOGITS, TARGETS, MASK), EXPECTED["caption_loss_sum_over_tokens_div_batch"])
    agree(caption_nll(LOGITS, TARGETS, MASK, reduction="token"), EXPECTED["caption_loss_token_mean"])


@given(seed=seeds, n=sizes, steps=sizes, words=sizes, dtype=dtypes, masked=st.booleans())
@random_batches
def test_agrees_with_the_loops(seed, n, steps, words, dtype, masked):
    random = np.random.default_rng(seed)
    logits, values = rounded(random.normal(0, 2, (n, steps, words)), dtype)
    targets = random.integers(0, words, (n, steps))
    mask = random.random((n, steps)) < (0.6 if masked else 1.0)
    for reduction in ("batch", "token"):
        want = adversaries.caption_nll(values, targets, mask, reduction == "token")
        agree(caption_nll(logits, targets, mask if masked else None, reduction=reduction), want, 2e-5, 1e-5)


def test_padding_has_no_gradient():
    _, (gradient,) = value_and_gradients(lambda z: caption_nll(z, TARGETS, MASK), LOGITS.astype("f4"))
    assert not gradient[1, 2].any()
    assert gradient[1, 1].any()


def test_unknown_reduction_names_the_choices():
    with pytest.raises(ValueError, match="batch, token"):
        caption_nll(LOGITS, TARGETS, MASK, reduction="mean")
