"""Token vectors of captions, gathered into padded batches."""

from __future__ import annotations

import numpy as np
import pytest

from xmkeras.data.token_vectors import TokenVectors

VECTORS = np.arange(20, dtype=np.float32).reshape(10, 2) + 1
TOKENS = TokenVectors(VECTORS, np.array([0, 1, 3, 10]), {"one": 0, "two": 1, "seven": 2})


def test_captions_are_gathered_in_their_order_with_zeros_behind():
    states, mask = TOKENS.batch(["two", "one", "two"])
    assert states.shape == (3, 6, 2)
    assert states.dtype == np.float32
    np.testing.assert_array_equal(mask.sum(axis=1), [2, 1, 2])
    for row, (first, end) in enumerate([(1, 3), (0, 1), (1, 3)]):
        np.testing.assert_array_equal(states[row, : end - first], VECTORS[first:end])
        assert not states[row, end - first :].any()
        assert mask[row, : end - first].all()


def test_a_batch_is_as_long_as_the_tokenizer_would_make_it():
    assert TOKENS.batch(["seven"])[0].shape == (1, 14, 2)
    assert TOKENS.batch([])[0].shape == (0, 6, 2)


def test_an_unknown_caption_is_an_error():
    with pytest.raises(KeyError):
        TOKENS.batch(["three"])
