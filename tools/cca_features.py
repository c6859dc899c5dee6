"""Photographs as the linear baseline sees them: pooled MobileNet features beside their captions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from xmkeras.errors import UserError


@dataclass(frozen=True, slots=True)
class Photographs:
    """Distinct images and their captions.

    Attributes: features (g, f) float64, one row an image; captions: those of each image, in the same order.
    """

    features: np.ndarray
    captions: Sequence[Sequence[str]]

    @property
    def all_captions(self) -> list[str]:
        """Every caption, image after image: (q,)."""
        return [caption for captions in self.captions for caption in captions]

    @property
    def image_of_text(self) -> np.ndarray:
        """Row of the image that each of all_captions belongs to: (q,) int64."""
        return np.repeat(np.arange(len(self.captions)), [len(captions) for captions in self.captions])


def load_photographs(
    table: str, image_root: str, weights: str, *, flip: bool = False
) -> dict[str, Photographs]:
    """Reads a table of image, captions and split, and runs its images through MobileNet v1 (224 px, mean).

    Returns train, validation and test. Raises UserError where the table or the weights cannot be read, or a
    split is empty. With flip, features are the mean of those of the image and of its mirror image.
    """
    from xmkeras.data.sources import SourceOptions, load_source

    rows = load_source("table", SourceOptions(data_dir="", table=table, image_root=image_root))
    extract = _extractor(weights, flip)
    splits = {}
    for name in ("train", "validation", "test"):
        part = rows.split(name)
        distinct = part.distinct_images()
        features = np.concatenate([extract(part.read_image(index)) for index in distinct])
        rows_of = [np.flatnonzero(part.image_index == part.image_index[index]) for index in distinct]
        captions = [[caption for row in found for caption in part.captions[row]] for found in rows_of]
        splits[name] = Photographs(features.astype(np.float64), captions)
    return splits


def _extractor(weights: str, flip: bool) -> Callable[[Any], np.ndarray]:
    """Encoded image bytes (scalar string) to pooled features (1, 1024)."""
    import keras
    import tensorflow as tf

    from xmkeras.data import images

    try:
        network = keras.applications.MobileNet(include_top=False, pooling="avg", weights=weights)
    except (OSError, ValueError) as fault:
        raise UserError(f"MobileNet v1 weights cannot be read from {weights}: {fault}") from fault

    @tf.function(input_signature=[tf.TensorSpec((), tf.string)])
    def extract(data: tf.Tensor) -> tf.Tensor:
        image = images.load(data, (224, 224))[None] / 127.5 - 1.0
        views = tf.concat([image, image[:, :, ::-1]], axis=0) if flip else image
        return tf.reduce_mean(network(views, training=False), axis=0, keepdims=True)

    return lambda data: extract(data).numpy()
