"""Floors are the figures of what the head sees before it is trained."""

from __future__ import annotations

import dataclasses
import pathlib

import numpy as np
import pytest

from tests.conformance.cases import SMALL_IMAGES, write_pairs
from tools.zero_shot_floors import measure
from xmkeras import flags
from xmkeras.config import Config
from xmkeras.errors import UserError
from xmkeras.run import evaluation, jobs
from xmkeras.run.directory import RunDirectory

pytestmark = pytest.mark.usefixtures("plain_tower")


@pytest.fixture
def config(tmp_path: pathlib.Path) -> Config:
    data = write_pairs(tmp_path / "pairs", 32, splits=("train", "test"), by_colour=True)
    argv = [*SMALL_IMAGES, "--method=dml", "--dml.extension=gdfl", "--dml.maps=relu", "--source=table"]
    argv += [f"--table={data}", f"--run={tmp_path / 'run'}", "--stage=steps=1 frozen=image_backbone/.*"]
    argv += ["--joint_norm=none", "--embedding_dim=8", "--head_init=whitened", "--batch_size=8", "--devices=cpu"]
    return flags.parse(argv).config


def test_a_whitened_floor_is_a_run_that_has_learnt_nothing(config: Config, tmp_path: pathlib.Path):
    floor = measure(config, "test", transform="whitened", dim=8)
    run = RunDirectory(tmp_path / "run")
    still = dataclasses.replace(config, train=dataclasses.replace(config.train, learning_rate=1e-12))
    jobs.train(still, run)
    results = evaluation.measure(still, run, "test")[0].results
    assert floor == pytest.approx({name: results[name] for name in floor}, abs=1e-3)


def test_transforms_differ_and_none_needs_no_training_split(config: Config):
    figures = {name: measure(config, "test", transform=name) for name in ("none", "pca")}
    assert all(np.isfinite(list(one.values())).all() for one in figures.values())
    # All components are the features less their mean.
    assert figures["none"]["queries"] == figures["pca"]["queries"] == 32
    with pytest.raises(UserError, match="choose one of none, pca, whitened"):
        measure(config, "test", transform="cca")
