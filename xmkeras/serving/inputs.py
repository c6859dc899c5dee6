"""What a request to a SavedModel holds of a side, and how it becomes the batch entries that an encoder takes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import tensorflow as tf

from xmkeras.data import images

Entries = dict[str, tf.Tensor]


class Input(Protocol):
    """The serving input of a side.

    Attributes:
        spec: of the request's tensor, one item a row; it has a name.
        identity: what decides an embedding besides the weights.
    """

    spec: tf.TensorSpec

    @property
    def identity(self) -> object: ...

    def entries(self, request: tf.Tensor) -> tuple[Entries, tf.Tensor | None]:
        """The batch entries of n rows, and which rows are valid, bool (n,); None where no row can be invalid."""

    def examples(self) -> np.ndarray:
        """Three rows for requests that warm a server up."""

    def describe(self) -> dict[str, Any]:
        """For the description beside the model, as JSON has it."""


class ImageBytes:
    """Whole image files: `image_bytes` string (n,) -> `image` float32 (n, h, w, 3) in 0..255.

    Args:
        image_size: height and width that the encoder takes, in pixels.
        max_pixels: an image that declares more pixels than this is invalid and is never decoded.
    """

    spec = tf.TensorSpec([None], tf.string, name="image_bytes")

    def __init__(self, image_size: tuple[int, int], max_pixels: int = images.MAX_PIXELS):
        self._size, self._max_pixels = (int(image_size[0]), int(image_size[1])), max_pixels

    @property
    def identity(self) -> object:
        return self._size

    def entries(self, request: tf.Tensor) -> tuple[Entries, tf.Tensor | None]:
        pixels, valid = images.decode_batch(request, self._size, max_pixels=self._max_pixels)
        return {"image": pixels}, valid

    def examples(self) -> np.ndarray:
        """A JPEG and a PNG of a colour ramp, and bytes that are no image: every way through the decoder."""
        ramp = np.indices(self._size).sum(0)[..., None] * np.array([1, 2, 3]) % 256
        pixels = tf.constant(ramp, tf.uint8)
        return np.array([tf.io.encode_jpeg(pixels).numpy(), tf.io.encode_png(pixels).numpy(), b"not an image"], object)

    def describe(self) -> dict[str, Any]:
        return {"image_size": list(self._size), "max_pixels": self._max_pixels}


class Sentences(tf.Module):
    """Sentences: `text` string (n,) -> `text` int32 token ids (n, L), padded to the longest.

    A module, so that a SavedModel keeps what the tokenizer owns.

    Args:
        tokenizer: strings (n,) -> token ids (n, L), and `get_config`.
    """

    spec = tf.TensorSpec([None], tf.string, name="text")

    def __init__(self, tokenizer: Any):
        super().__init__(name="sentences")
        self.tokenizer = tokenizer

    @property
    def identity(self) -> object:
        return self.tokenizer.get_config()

    def entries(self, request: tf.Tensor) -> tuple[Entries, tf.Tensor | None]:
        return {"text": self.tokenizer(request)}, None

    def examples(self) -> np.ndarray:
        return np.array([b"a red heart", b"", b"a man in a blue shirt rides a bicycle past houses"], object)

    def describe(self) -> dict[str, Any]:
        return {"tokenizer": self.tokenizer.get_config().get("operations", "core")}


class Arrays:
    """Vectors, or matrices: `<side>_features` float32 (n, *shape), as they are; rows that are not finite are invalid.

    Args:
        side: "image" or "text".
        shape: of a row.
    """

    def __init__(self, side: str, shape: Sequence[int]):
        self.spec = tf.TensorSpec([None, *shape], tf.float32, name=f"{side}_features")

    @property
    def identity(self) -> object:
        return self.spec.name, tuple(self.spec.shape[1:])

    def entries(self, request: tf.Tensor) -> tuple[Entries, tf.Tensor | None]:
        valid = tf.reduce_all(tf.math.is_finite(request), axis=range(1, self.spec.shape.rank))
        return {self.spec.name: kept_rows(request, valid)}, valid

    def examples(self) -> np.ndarray:
        shape = (3, *self.spec.shape[1:])
        return np.linspace(0, 1, math.prod(shape), dtype=np.float32).reshape(shape)

    def describe(self) -> dict[str, Any]:
        return {self.spec.name: list(self.spec.shape[1:])}


def kept_rows(rows: tf.Tensor, valid: tf.Tensor) -> tf.Tensor:
    """Rows (n, ...) with zeros in place of those that are not `valid`, bool (n,)."""
    return tf.where(tf.reshape(valid, [-1] + [1] * (rows.shape.rank - 1)), rows, 0.0)
