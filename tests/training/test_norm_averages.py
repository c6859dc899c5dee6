"""Batch norms average over as many steps as there have been, and the momentum is no part of a checkpoint."""

from __future__ import annotations

import numpy as np
import pytest

from tests.training.toy import Batches, method
from xmkeras.training.norm_averages import NormAverages, momentum_at


def test_the_momentum_grows_to_that_of_long_runs():
    assert [momentum_at(step, 0.99) for step in (0, 8, 98)] == pytest.approx([0.1, 0.5, 99 / 108])
    assert momentum_at(10**6, 0.99) == 0.99
    assert momentum_at(100, 0.9) == 0.9


def test_short_runs_forget_the_first_statistics_and_add_nothing_to_a_checkpoint():
    subject = method(norm=True)
    names = list(subject.named_variables())
    averages = NormAverages(subject)
    assert list(subject.named_variables()) == names
    expected = np.ones(4)
    for step in range(12):
        averages.start_step(step)
        image = Batches(size=50).batch(step)["image"]
        subject.towers.encode("image", {"image": image}, True)
        dense = image.numpy() @ subject.named_variables()["image_backbone/dense/kernel"].numpy()
        keep = momentum_at(step, 0.99)
        expected = keep * expected + (1 - keep) * dense.var(0)
    norm = subject.named_variables()["image_backbone/norm/moving_variance"].numpy()
    np.testing.assert_allclose(norm, expected, rtol=1e-4)
    assert np.abs(norm / dense.var(0) - 1).max() < 0.5
