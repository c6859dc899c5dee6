"""The jobs behind the commands: train, evaluate and export a run."""

from __future__ import annotations

import dataclasses
import hashlib
import pathlib
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from absl import logging

from xmkeras import assembly
from xmkeras.config import Config
from xmkeras.data import batches as data_batches
from xmkeras.data import images as data_images
from xmkeras.data.rows import RowTable
from xmkeras.data.text import Vocabulary
from xmkeras.errors import UserError
from xmkeras.evaluation import Evaluator
from xmkeras.method import Method
from xmkeras.models.image import set_synchronized
from xmkeras.run import RunDirectory
from xmkeras.training.checkpoints import Checkpoints, restore
from xmkeras.training.feature_cache import cached_features
from xmkeras.training.groups import Stage
from xmkeras.training.loop import Result, Trainer
from xmkeras.training.monitor import Monitor
from xmkeras.training.strategy import make_strategy


def train(config: Config, run: RunDirectory) -> Result:
    """Trains a run, or continues it.

    Raises:
        UserError: data, flags, devices or the run directory do not fit, a loss is not finite, or the disk is full.
    """
    strategy = make_strategy(config.train.devices)
    _seed(config)
    table = assembly.load_table(config)
    rows = table.split("train")
    if not config.train.resume:
        run.clear()
    run.open(config, table.fingerprint())
    vocabulary = _vocabulary(config, run, rows)
    with strategy.scope():
        method = assembly.build_method(config, vocabulary, rows.num_labels)
    if config.train.synchronized_batch_norm and strategy.num_replicas_in_sync > 1:
        for part in method.towers.named_parts.values():
            set_synchronized(part, True)
    evaluator = None
    if "validation" in table.split_names:
        evaluator = Evaluator(config, table.split("validation"), method, run.embeddings("validation"))
    with Monitor(run.path) as monitor:
        trainer = Trainer(
            method,
            assembly.stages_of(config),
            steps_per_epoch=assembly.steps_per_epoch(config, rows),
            batches_of=lambda stage, bad_rows: assembly.batches_of(
                config, rows, method, _stage_features(config, run, rows, method, stage), bad_rows
            ),
            evaluate=evaluator.measure if evaluator else None,
            options=config.train,
            strategy=strategy,
            checkpoints=Checkpoints(run.checkpoints),
            monitor=monitor,
            describe_rows=lambda numbers: _names(rows, numbers),
        )
        return trainer.run()


def load_method(config: Config, run: RunDirectory) -> tuple[Method, int]:
    """The method of a trained run with the weights that evaluation and export use, and their step.

    Raises:
        UserError: the run has no checkpoint yet.
    """
    checkpoints = Checkpoints(run.checkpoints)
    checkpoint = (checkpoints.best() if config.train.use_best else None) or checkpoints.latest()
    if checkpoint is None:
        raise UserError(f"{run.path} has no checkpoint yet; let `python -m xmkeras.train` run to its first evaluation.")
    _seed(config)
    weights = {n.removeprefix("weights/"): a for n, a in checkpoint.tensors.items() if n.startswith("weights/")}
    averages = {n.removeprefix("average/"): a for n, a in checkpoint.tensors.items() if n.startswith("average/")}
    table_labels = checkpoint.state["num_labels"]
    method = assembly.build_method(config, Vocabulary.load(run.vocabulary_file), table_labels)
    named = method.named_variables()
    restore(named, weights | {name: averages[name] for name in averages if name in named})
    return method, checkpoint.step


def _seed(config: Config) -> None:
    keras.config.set_dtype_policy(config.train.precision)
    keras.utils.set_random_seed(config.train.seed)
    tf.config.experimental.enable_op_determinism()


def _vocabulary(config: Config, run: RunDirectory, rows: RowTable) -> Vocabulary:
    if run.vocabulary_file.is_file():
        return Vocabulary.load(run.vocabulary_file)
    vocabulary = assembly.build_vocabulary(config, rows)
    vocabulary.save(run.vocabulary_file)
    return vocabulary


def _names(rows: RowTable, numbers: Sequence[int] | np.ndarray, most: int = 8) -> str:
    names = [rows.image_ids[int(number)] for number in numbers]
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def _stage_features(
    config: Config, run: RunDirectory, rows: RowTable, method: Method, stage: Stage
) -> np.ndarray | None:
    """Cached features for a stage whose image backbone is frozen and whose augmentation is at most a flip."""
    backbone = method.towers.image_backbone
    augmentation = data_images.parse_augmentation(config.data.augment)
    flips_only = augmentation == data_images.Augmentation(flip=augmentation.flip)
    if not config.train.feature_cache or backbone.trainable_variables or not flips_only:
        return None
    digest = hashlib.sha256(f"{rows.fingerprint()} {config.data.image_size} {augmentation.flip}".encode())
    for variable in backbone.variables:
        digest.update(np.asarray(variable).tobytes())
    encode = tf.function(lambda images: tf.cast(backbone(images, training=False), tf.float32))
    width = int(backbone.output_shape[-1])
    shape = (len(rows), 2, width) if augmentation.flip else (len(rows), width)
    logging.info("Computing the features of %d images, once.", len(rows))
    features = cached_features(
        run.features,
        digest.hexdigest(),
        lambda: data_batches.image_batches(
            rows, image_size=assembly.image_size(config), batch_size=64, with_flip=augmentation.flip
        ),
        encode,
        shape,
    )
    return features[_first_row_of_image(rows)] if len(rows.distinct_images()) < len(rows) else features


def _first_row_of_image(rows: RowTable) -> np.ndarray:
    first = {int(rows.image_index[row]): int(row) for row in rows.distinct_images()}
    return np.array([first[int(image)] for image in rows.image_index])
