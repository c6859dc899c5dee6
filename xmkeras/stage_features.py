"""What the frozen parts of the towers make of images and captions, cached for a stage of a run."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from absl import logging

from xmkeras import assembly
from xmkeras.config import Config
from xmkeras.data import images as data_images
from xmkeras.data import passes
from xmkeras.data.rows import RowTable
from xmkeras.data.token_vectors import TokenVectors
from xmkeras.method import Method
from xmkeras.run import RunDirectory
from xmkeras.training.feature_cache import cached_features

_IMAGE_BATCH = 32
_TEXT_BATCH = 64
_VIEW_SEED = 0  # not the run's, so that runs with other seeds share the features; which view comes up is the run's


@dataclasses.dataclass(frozen=True)
class StageFeatures:
    """What replaces the inputs of a stage; None where a part is trained or the cache is switched off.

    Attributes:
        images: float32 (rows, f), or (rows, views, f), the pooled image features of the training rows.
        validation_images: float32 (validation rows, f), those of the plain validation images.
        tokens: BERT's token vectors of all captions that the stage sees.
    """

    images: np.ndarray | None = None
    validation_images: np.ndarray | None = None
    tokens: TokenVectors | None = None


def stage_features(
    config: Config, run: RunDirectory, rows: RowTable, method: Method, validation: RowTable | None = None
) -> StageFeatures:
    """The cached features of a stage whose frozen variables are frozen now.

    Args:
        config: of the run.
        run: whose folder holds them, unless --feature_dir names another.
        rows: the training split.
        method: whose towers compute them.
        validation: rows that the stage measures.

    Raises:
        UserError: the disk is full.
    """
    if rows.text_features is not None or not config.train.feature_cache:
        return StageFeatures()
    folder = pathlib.Path(config.train.feature_dir) if config.train.feature_dir else run.features
    captions = assembly.captions_of(rows) + ([] if validation is None else assembly.captions_of(validation))
    augmentation = data_images.parse_augmentation(config.data.augment)
    plain = data_images.Augmentation()
    return StageFeatures(
        _images(config, folder, rows, method, augmentation),
        None if validation is None else _images(config, folder, validation, method, plain),
        _tokens(config, folder, captions, method),
    )


def _images(
    config: Config, folder: pathlib.Path, rows: RowTable, method: Method, augmentation: data_images.Augmentation
) -> np.ndarray | None:
    backbone = method.towers.image_backbone
    if backbone.trainable_variables:
        return None
    varied = augmentation != data_images.Augmentation()
    views = 1 + (1 if augmentation.only_flips else config.train.feature_views) * varied
    about = (rows.fingerprint(), _places(config, rows), config.data.image_size, augmentation, views, _VIEW_SEED)
    width = int(backbone.output_shape[-1])
    encode = tf.function(lambda images: tf.cast(backbone(images, training=False), tf.float32))

    def blocks() -> Iterator[tuple[np.ndarray, Any]]:
        logging.info("Computing the features of %d images in %d views, once.", rows.num_images, views)
        for batch in passes.image_batches(
            rows,
            image_size=assembly.image_size(config),
            batch_size=_IMAGE_BATCH,
            augmentation=augmentation,
            views=views,
            seed=_VIEW_SEED,
        ):
            images = batch["image"]
            seen = [encode(images[:, view]) for view in range(views)] if views > 1 else [encode(images)]
            yield batch["row"].numpy(), np.stack(seen, axis=1) if views > 1 else seen[0]

    shape = (len(rows), views, width) if views > 1 else (len(rows), width)
    features = cached_features(folder, "images", _digest(config, about, backbone.weights), blocks, shape)
    return features[_first_row_of_image(rows)] if rows.num_images < len(rows) else features


def _tokens(config: Config, folder: pathlib.Path, captions: Sequence[str], method: Method) -> TokenVectors | None:
    halves = method.towers.text_at_tokens
    if halves is None or halves[0].trainable_variables:
        return None
    tokenizer, bert = method.towers.tokenizer, halves[0]
    distinct = list(dict.fromkeys(captions))
    # The longest last, and like with like, so that little is padded.
    ids = [tokenizer(distinct[start : start + 1024]).numpy() for start in range(0, len(distinct), 1024)]
    counts = np.concatenate([np.maximum((part != 0).sum(axis=1) - 2, 1) for part in ids]).astype(np.int64)
    starts = np.concatenate([[0], np.cumsum(counts)])
    order = np.argsort(counts, kind="stable")
    encode = tf.function(lambda ids: tf.cast(bert(ids, training=False)[0], tf.float32), reduce_retracing=True)

    def blocks() -> Iterator[tuple[np.ndarray, Any]]:
        logging.info("Computing BERT's token vectors of %d captions, once.", len(distinct))
        for start in range(0, len(order), _TEXT_BATCH):
            numbers = order[start : start + _TEXT_BATCH]
            vectors = encode(tokenizer([distinct[number] for number in numbers])).numpy()
            places = np.arange(vectors.shape[1])
            there = places < counts[numbers, None]
            yield (starts[numbers, None] + places)[there], vectors[there]

    about = (distinct, tokenizer.get_config())
    digest = _digest(config, about, bert.weights)
    vectors = cached_features(folder, "tokens", digest, blocks, (int(starts[-1]), int(bert.output_shape[0][-1])))
    numbers = {caption: number for number, caption in enumerate(distinct)}
    return TokenVectors(vectors, starts, numbers, tokenizer.pad_to_multiple)


def _digest(config: Config, about: object, variables: Sequence[keras.Variable]) -> str:
    digest = hashlib.sha256(repr((about, config.train.precision)).encode())
    for variable in variables:
        digest.update(np.asarray(variable).tobytes())
    return digest.hexdigest()


def _places(config: Config, rows: RowTable) -> list[Any]:
    """What tells the images of one data set from those of another with the same rows: files and their times."""
    if rows.image_paths is None:
        return [config.data.source, config.data.render_size]
    paths = [os.path.abspath(rows.image_paths[row]) for row in rows.distinct_images()]
    return [(path, _time_of(path)) for path in paths]


def _time_of(path: str) -> int:
    try:
        return os.stat(path).st_mtime_ns
    except OSError:
        return 0


def _first_row_of_image(rows: RowTable) -> np.ndarray:
    first = {int(rows.image_index[row]): int(row) for row in rows.distinct_images()}
    return np.array([first[int(image)] for image in rows.image_index])
