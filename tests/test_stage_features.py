"""Training on cached features of a frozen backbone, from the command."""

from __future__ import annotations

import pathlib

import numpy as np

from tests.conformance.cases import write_pairs
from tests.test_jobs import command, run_to_end
from xmkeras.training.checkpoints import Checkpoints


def test_feature_cache_trains_like_the_frozen_backbone_itself(tmp_path: pathlib.Path):
    frozen = ("--stage=steps=6 frozen=image_backbone/.*", "--augment=none", "--learning_rate=1e-2")
    table = write_pairs(tmp_path / "pairs", 32, splits=("train", "validation"))
    for name, more in (("cached", ()), ("computed", ("--nofeature_cache",))):
        done = run_to_end(command(table, tmp_path / name, *frozen, *more))
        assert done.returncode == 0, done.stderr
    assert (tmp_path / "cached" / "features" / "features.npy").is_file()
    assert not (tmp_path / "computed" / "features").exists()
    one, two = (Checkpoints(tmp_path / name / "checkpoints").latest() for name in ("cached", "computed"))
    for name, value in one.tensors.items():
        if name.startswith("weights/"):
            np.testing.assert_allclose(value, two.tensors[name], atol=1e-4, err_msg=name)
