"""Feature preprocessing as part of a tower: fitted on training vectors, kept with the weights, exported."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from xmkeras.errors import UserError

STEPS = ("standardize", "l2", "tfidf", "sqrt", "log", "fourier")
_FITTED = ("standardize", "tfidf")
_LOG_FLOOR = 1e-6
_WAVES = re.compile(r"fourier([1-9]\d*)")
_DEFAULT_WAVES = 2000


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


@keras.saving.register_keras_serializable(package="xmkeras")
class FourierFeatures(keras.layers.Layer):
    """sqrt(2/D) cos(x W + b), (B, f) -> (B, D): inner products approximate an RBF kernel (Rahimi and Recht 2007).

    W and b are weights that no optimizer trains, so checkpoints and exports hold them.

    Args:
        units: D, the number of waves.
    """

    def __init__(self, units: int, **options: Any):
        super().__init__(**options)
        self.units = units

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        shape = (input_shape[-1], self.units)
        self.kernel = self.add_weight(name="kernel", shape=shape, initializer="zeros", trainable=False)
        self.phase = self.add_weight(name="phase", shape=(self.units,), initializer="zeros", trainable=False)

    def call(self, inputs: Any) -> Any:
        return (2.0 / self.units) ** 0.5 * ops.cos(ops.matmul(inputs, self.kernel) + self.phase)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return (*input_shape[:-1], self.units)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "units": self.units}


def parse_steps(text: str, flag: str) -> tuple[str, ...]:
    """The steps of `standardize,l2`; () for "" and none.

    Raises:
        UserError: a step is not known; the message names the flag.
    """
    names = tuple(name.strip() for name in text.split(",") if name.strip() not in ("", "none"))
    if unknown := [name for name in names if name not in STEPS and not _WAVES.fullmatch(name)]:
        raise UserError(
            f"--{flag} holds {unknown[0]!r}; choose from {', '.join(STEPS)}, with commas between them; a number after "
            "fourier, as in fourier1000, is how many."
        )
    return names


def preprocess(x: keras.KerasTensor, steps: Sequence[str], examples: np.ndarray | None) -> keras.KerasTensor:
    """Applies preprocessing to the input of a feature tower, (B, f) -> (B, f).

    `standardize` takes each feature to mean 0 and variance 1 (a constant one to 0); `l2` takes each row to length 1
    (a zero row stays 0); `tfidf` multiplies term frequencies by log((1 + n) / (1 + df)) + 1; `sqrt` is the Hellinger
    map of non-negative features; `log` is log(max(x, 1e-6)); `fourier` is `FourierFeatures` of the kernel
    exp(-|x - y|^2 / (f v)), v the variance of all examples' features together, with 2,000 waves, `fourier500` with 500.

    Args:
        x: the vectors.
        steps: as `parse_steps` returns them, in order.
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
        elif step.startswith("fourier"):
            layer = FourierFeatures(_waves(step), name=f"fourier_{number}", dtype="float32")
            x = layer(x)
            if seen is not None:
                kernel, phase = _random_waves(seen, layer.units)
                layer.kernel.assign(kernel.astype(np.float32))
                layer.phase.assign(phase.astype(np.float32))
                seen = np.sqrt(2 / layer.units) * np.cos(seen @ kernel + phase)
        elif step == "sqrt":
            x = ops.sqrt(ops.maximum(x, 0.0))
            seen = None if seen is None else np.sqrt(np.maximum(seen, 0.0))
        else:
            x = ops.log(ops.maximum(x, _LOG_FLOOR))
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


def _waves(step: str) -> int:
    match = _WAVES.fullmatch(step)
    return int(match[1]) if match else _DEFAULT_WAVES


def _random_waves(examples: np.ndarray, units: int) -> tuple[np.ndarray, np.ndarray]:
    """Frequencies (f, units) and phases (units,) of the RBF kernel, the same in every run."""
    random = np.random.default_rng(0)
    spread = examples.shape[1] * examples.var()
    frequencies = random.normal(size=(examples.shape[1], units)) * np.sqrt(2.0 / max(spread, 1e-12))
    return frequencies, random.uniform(0.0, 2.0 * np.pi, units)
