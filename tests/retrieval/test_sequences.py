"""Ragged items against a list of arrays."""

import numpy as np
import pytest

from tests.retrieval.examples import ragged
from xmkeras.retrieval.sequences import Sequences


@pytest.mark.parametrize("rows", [np.array([4, 0, 4]), np.array([1, 0, 1, 0, 0, 1], bool), slice(1, 4), slice(6, 9)])
def test_sequences_are_taken_and_padded_like_a_list(rows):
    items, parts = ragged()
    wanted = [parts[i] for i in np.arange(6)[rows]]
    taken = items.take(rows)
    assert taken.lengths.tolist() == [len(part) for part in wanted]
    padded, mask = items.padded(rows)
    assert padded.dtype == np.float32
    assert padded.shape == (len(wanted), max([len(part) for part in wanted], default=1), 2)
    for one, (row, is_own, part) in enumerate(zip(padded, mask, wanted, strict=True)):
        np.testing.assert_array_equal(taken.values[taken.starts[one] : taken.starts[one + 1]], part)
        np.testing.assert_array_equal(row[: len(part)], part)
        assert is_own.tolist() == [place < len(part) for place in range(len(row))]
        assert not row[len(part) :].any()


def test_sequences_that_do_not_fit_are_refused():
    for starts in ([0, 3], [0, 3, 2, 4], [1, 4], []):
        with pytest.raises(ValueError, match="do not cut"):
            Sequences(np.zeros((4, 2), np.float32), np.array(starts, np.int64))
