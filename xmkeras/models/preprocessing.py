"""Feature preprocessing as part of a tower: fitted on training vectors, kept with the weights, exported."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from xmkeras.errors import UserError

STEPS = ("standardize", "l2", "tfidf", "sqrt", "log")
_FITTED = ("standardize", "tfidf")
_LOG_FLOOR = 1e-6


@keras.saving.register_keras_serializable(package="xmkeras")
class FeatureScaling(keras.layers.Layer):
    """`(x + offset) * scale` with a fixed offset and scale for each feature, (B, f) -> (B, f).

    The statistics are weights that no optimizer trains, so checkpoints and exports hold them.
    """

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        width = input_shape[-1]
        self.offset = self.add_weight(name="offset", shape=(width,), initializer="zeros", trainable=False)
        self.scale = self.add_weight(name="scale", shape=(width,), initializer="ones", trainable=False)

    def call(self, inputs: Any) -> Any:
        return (inputs + self.offset) * self.scale


def parse_steps(text: str, flag: str) -> tuple[str, ...]:
    """The steps of `standardize,l2`; () for "" and none.

    Raises:
        UserError: a step is not known; the message names the flag.
    """
    names = tuple(name.strip() for name in text.split(",") if name.strip() not in ("", "none"))
    if unknown := [name for name in names if name not in STEPS]:
        raise UserError(f"--{flag} holds {unknown[0]!r}; choose from {', '.join(STEPS)}, with commas between them.")
    return names


def preprocess(x: keras.KerasTensor, steps: Sequence[str], examples: np.ndarray | None) -> keras.KerasTensor:
    """Applies preprocessing to the input of a feature tower, (B, f) -> (B, f).

    `standardize` takes each feature to mean 0 and variance 1 (a constant one to 0); `l2` takes each row to length 1
    (a zero row stays 0); `tfidf` multiplies term frequencies by log((1 + n) / (1 + df)) + 1; `sqrt` is the Hellinger
    map of non-negative features; `log` is log(max(x, 1e-6)).

    Args:
        x: the vectors.
        steps: names of `STEPS`, in order.
        examples: (n, f) training vectors that the statistics are fitted on; None leaves them to a checkpoint.
    """
    seen = None if examples is None else np.asarray(examples, np.float64)
    for number, step in enumerate(steps, 1):
        if step in _FITTED:
            layer = FeatureScaling(name=f"{step}_{number}", dtype="float32")
            x = layer(x)
            if seen is not None:
                offset, scale = _statistics(step, seen)
                layer.offset.assign(offset.astype(np.float32))
                layer.scale.assign(scale.astype(np.float32))
                seen = (seen + offset) * scale
        elif step == "l2":
            x = keras.layers.UnitNormalization(axis=-1, name=f"l2_{number}", dtype="float32")(x)
            seen = None if seen is None else seen / np.maximum(np.linalg.norm(seen, axis=1, keepdims=True), 1e-12)
        elif step == "sqrt":
            x = keras.ops.sqrt(keras.ops.maximum(x, 0.0))
            seen = None if seen is None else np.sqrt(np.maximum(seen, 0.0))
        else:
            x = keras.ops.log(keras.ops.maximum(x, _LOG_FLOOR))
            seen = None if seen is None else np.log(np.maximum(seen, _LOG_FLOOR))
    return x


def _statistics(step: str, examples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Offset and scale, float64 (f,) each."""
    if step == "standardize":
        deviation = examples.std(axis=0)
        constant = deviation <= 1e-12 * np.maximum(1.0, np.abs(examples).max(axis=0))
        return -examples.mean(axis=0), np.where(constant, 0.0, 1.0 / np.where(constant, 1.0, deviation))
    containing = np.count_nonzero(examples > 0, axis=0)
    return np.zeros(examples.shape[1]), np.log((1 + len(examples)) / (1 + containing)) + 1
