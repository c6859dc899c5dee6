"""The joint embedding: a projection without bias, normalised over the batch."""

from __future__ import annotations

import numpy as np
import pytest

from xmkeras.errors import UserError
from xmkeras.models.heads import image_head


def test_projects_and_normalises_in_training():
    head = image_head(6, 4, norm_epsilon=1e-3)
    x = np.random.default_rng(0).normal(2, 3, (32, 6)).astype("f4")
    projected = x @ head.get_layer("joint_projection").kernel.numpy()
    want = (projected - projected.mean(0)) / np.sqrt(projected.var(0) + 1e-3)
    np.testing.assert_allclose(head(x, training=True).numpy(), want, atol=1e-4)


def test_momentum_decides_how_fast_statistics_move():
    x = np.random.default_rng(0).normal(5, 1, (64, 3)).astype("f4")
    for momentum in (0.5, 0.9):
        head = image_head(3, 2, norm_momentum=momentum)
        head(x, training=True)
        mean = (x @ head.get_layer("joint_projection").kernel.numpy()).mean(0)
        moving = head.get_layer("joint_norm").moving_mean.numpy()
        np.testing.assert_allclose(moving, (1 - momentum) * mean, rtol=1e-4)


def test_variables_have_fixed_names_and_no_bias():
    paths = [v.path for v in image_head(3, 2, dropout=0.1).variables]
    assert paths == [
        "feature_dropout/seed_generator_state",
        "joint_projection/kernel",
        "joint_norm/gamma",
        "joint_norm/beta",
        "joint_norm/moving_mean",
        "joint_norm/moving_variance",
    ]


def test_without_a_norm_it_is_a_dense_layer():
    head = image_head(3, 2, joint_norm="none")
    assert [v.path for v in head.variables] == ["joint_projection/kernel", "joint_projection/bias"]
    x = np.random.default_rng(0).normal(size=(4, 3)).astype("f4")
    want = x @ head.get_layer("joint_projection").kernel.numpy()
    for training in (True, False):
        np.testing.assert_allclose(head(x, training=training).numpy(), want, atol=1e-6)


def test_an_unknown_norm_is_explained():
    with pytest.raises(UserError, match="--joint_norm=layer is not known"):
        image_head(3, 2, joint_norm="layer")
