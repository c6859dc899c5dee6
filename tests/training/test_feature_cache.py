"""Features on disk: computed once, for one fingerprint, and never half."""

from __future__ import annotations

import pathlib

import numpy as np
import pytest

from xmkeras.errors import UserError
from xmkeras.training.feature_cache import cached_features

IMAGES = np.arange(5 * 2 * 2 * 3, dtype=np.float32).reshape(5, 2, 2, 3)


def _encode(images: np.ndarray) -> np.ndarray:
    return np.asarray(images).mean(axis=(1, 2))


def _batches(calls: list[int], rows=(0, 1, 2, 3, 4)):
    def make():
        calls.append(1)
        for part in (rows[:3], rows[3:]):
            yield {"image": IMAGES[list(part)], "row": np.array(part)}

    return make


def test_computes_once_a_fingerprint(tmp_path: pathlib.Path):
    calls: list[int] = []
    for fingerprint, count in (("a", 1), ("a", 1), ("b", 2)):
        features = cached_features(tmp_path, fingerprint, _batches(calls), _encode, (5, 3))
        np.testing.assert_allclose(features, _encode(IMAGES))
        assert len(calls) == count


def test_views_and_missing_rows(tmp_path: pathlib.Path):
    def batches():
        yield {"image": np.stack([IMAGES[[0, 4]], IMAGES[[0, 4], :, ::-1] + 1], axis=1), "row": np.array([0, 4])}

    features = cached_features(tmp_path, "a", batches, _encode, (5, 2, 3))
    np.testing.assert_allclose(features[4, 1], _encode(IMAGES)[4] + 1)
    assert np.isnan(features[1:4]).all()


def test_a_failure_leaves_nothing_that_looks_complete(tmp_path: pathlib.Path):
    def batches():
        yield {"image": IMAGES[:2], "row": np.array([0, 1])}
        raise OSError(28, "No space left on device")

    with pytest.raises(UserError, match="No space left"):
        cached_features(tmp_path, "a", batches, _encode, (5, 3))
    calls: list[int] = []
    features = cached_features(tmp_path, "a", _batches(calls), _encode, (5, 3))
    assert calls
    assert not np.isnan(features).any()
