"""A trained run with its weights, or one with its first."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import keras
import tensorflow as tf

from xmkeras.config import Config
from xmkeras.errors import UserError
from xmkeras.method import Method
from xmkeras.run.assembly import build_method
from xmkeras.run.directory import RunDirectory
from xmkeras.run.sides import Side, kept_sides, read_kept
from xmkeras.training.checkpoints import Checkpoint, Checkpoints, restore, used_weights


class Loaded(NamedTuple):
    """A trained run: its method with the weights that are used, the step they are of, and its sides."""

    method: Method
    step: int
    sides: dict[str, Side]


def load(config: Config, run: RunDirectory) -> Loaded:
    """A trained run with the weights that evaluation and export use.

    Raises:
        UserError: the run has no checkpoint yet.
    """
    checkpoint = used_checkpoint(config, run)
    set_policy(config, "float32")  # whatever the towers were trained in: the master weights are float32
    sides = kept_sides(config, read_kept(config, run))
    method = build_method(config, sides, checkpoint.state["num_labels"])
    restore(method.named_variables(), used_weights(checkpoint))
    return Loaded(method, checkpoint.step, sides)


def used_checkpoint(config: Config, run: RunDirectory) -> Checkpoint:
    """The best checkpoint, or the last one, as the config says."""
    checkpoints = Checkpoints(run.checkpoints)
    checkpoint = (checkpoints.best() if config.train.use_best else None) or checkpoints.latest()
    if checkpoint is None:
        raise UserError(f"{run.path} has no checkpoint yet; let `python -m xmkeras.train` run to its first evaluation.")
    return checkpoint


def set_policy(config: Config, precision: str) -> None:
    """Sets what a process computes in and by, before anything is built: precision, seed, determinism."""
    keras.config.set_dtype_policy(precision)
    keras.utils.set_random_seed(config.train.seed)
    if config.train.deterministic:
        tf.config.experimental.enable_op_determinism()


def fresh(config: Config, sides: Mapping[str, Side], num_labels: int) -> Method:
    """The method with the run's first weights, the same at each call."""
    keras.utils.set_random_seed(config.train.seed)
    return build_method(config, sides, num_labels)
