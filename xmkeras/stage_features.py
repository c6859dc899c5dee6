"""The pooled features of a frozen image backbone, cached for a stage of a run."""

from __future__ import annotations

import hashlib

import numpy as np
import tensorflow as tf
from absl import logging

from xmkeras import assembly
from xmkeras.config import Config
from xmkeras.data import batches as data_batches
from xmkeras.data import images as data_images
from xmkeras.data.rows import RowTable
from xmkeras.method import Method
from xmkeras.run import RunDirectory
from xmkeras.training.feature_cache import cached_features


def stage_features(config: Config, run: RunDirectory, rows: RowTable, method: Method) -> np.ndarray | None:
    """Cached features for a stage that freezes the whole image backbone; None where the cache is switched off."""
    if rows.text_features is not None:
        return None
    backbone = method.towers.image_backbone
    if not config.train.feature_cache or backbone.trainable_variables:
        return None
    augmentation = data_images.parse_augmentation(config.data.augment)
    varied = augmentation != data_images.Augmentation()
    views = 1 + (1 if augmentation.only_flips else config.train.feature_views) * varied
    about = (rows.fingerprint(), config.data.image_size, augmentation, views, config.train.seed)
    digest = hashlib.sha256(repr(about).encode())
    for variable in backbone.variables:
        digest.update(np.asarray(variable).tobytes())
    width = int(backbone.output_shape[-1])
    logging.info("Computing the features of %d images in %d views, once.", rows.num_images, views)
    features = cached_features(
        run.features,
        digest.hexdigest(),
        lambda: data_batches.image_batches(
            rows,
            image_size=assembly.image_size(config),
            batch_size=32,
            augmentation=augmentation,
            views=views,
            seed=config.train.seed,
        ),
        tf.function(lambda images: tf.cast(backbone(images, training=False), tf.float32)),
        (len(rows), views, width) if views > 1 else (len(rows), width),
    )
    return features[_first_row_of_image(rows)] if rows.num_images < len(rows) else features


def _first_row_of_image(rows: RowTable) -> np.ndarray:
    first = {int(rows.image_index[row]): int(row) for row in rows.distinct_images()}
    return np.array([first[int(image)] for image in rows.image_index])
