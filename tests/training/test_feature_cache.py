"""Features on disk: computed once, for one fingerprint, and never half."""

from __future__ import annotations

import pathlib

import numpy as np
import pytest

from xmkeras.errors import UserError
from xmkeras.training.feature_cache import cached_features

VALUES = np.arange(15, dtype=np.float32).reshape(5, 3)


def _blocks(calls: list[int], rows=(0, 1, 2, 3, 4)):
    def make():
        calls.append(1)
        for part in (rows[:3], rows[3:]):
            yield np.array(part), VALUES[list(part)]

    return make


def test_computes_once_a_name_and_fingerprint(tmp_path: pathlib.Path):
    calls: list[int] = []
    for name, fingerprint, count in (("x", "a", 1), ("x", "a", 1), ("x", "b", 2), ("y", "a", 3), ("x", "a", 3)):
        features = cached_features(tmp_path, name, fingerprint, _blocks(calls), (5, 3))
        np.testing.assert_array_equal(features, VALUES)
        assert len(calls) == count
    assert isinstance(features, np.memmap)


def test_rows_that_are_never_named_are_nan(tmp_path: pathlib.Path):
    def blocks():
        yield np.array([0, 4]), np.stack([VALUES[[0, 4]], VALUES[[0, 4]] + 1], axis=1)

    features = cached_features(tmp_path, "x", "a", blocks, (5, 2, 3))
    np.testing.assert_array_equal(features[4, 1], VALUES[4] + 1)
    assert np.isnan(features[1:4]).all()


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_failure_leaves_nothing_that_looks_complete(tmp_path: pathlib.Path, error: BaseException):
    def blocks():
        yield np.array([0, 1]), VALUES[:2]
        raise error

    expected = UserError if isinstance(error, OSError) else KeyboardInterrupt
    with pytest.raises(expected, match="x cannot be written.*No space left" if expected is UserError else None):
        cached_features(tmp_path, "x", "a", blocks, (5, 3))
    assert not list(tmp_path.iterdir())
    calls: list[int] = []
    np.testing.assert_array_equal(cached_features(tmp_path, "x", "a", _blocks(calls), (5, 3)), VALUES)
    assert calls
