"""What the tests of losses share: published vectors, gradients under any backend, and rounded random inputs."""

from __future__ import annotations

import functools
import json
import pathlib
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from hypothesis import settings
from hypothesis import strategies as st

DTYPES = ("float32", "bfloat16", "float16")
# JAX compiles every operation anew for every shape: there a few batches have to do.
MANY_SHAPES = keras.backend.backend() == "tensorflow"
random_batches = settings(max_examples=40 if MANY_SHAPES else 2, deadline=None, derandomize=True)
seeds, sizes, dtypes = st.integers(0, 2**31), st.integers(1, 7), st.sampled_from(DTYPES)


@functools.cache
def _groups() -> dict[str, Any]:
    return json.loads((pathlib.Path(__file__).parents[1] / "vectors.json").read_text())


def vectors(group: str, *names: str) -> tuple[Any, ...]:
    """The named inputs of a group of vectors.json as arrays, and last what it expects."""
    return *(np.array(_groups()[group]["inputs"][name]) for name in names), _groups()[group]["expected"]


def array(x: Any) -> np.ndarray:
    """A tensor as numpy, half precision as float32."""
    x = keras.ops.convert_to_tensor(x)
    x = keras.ops.cast(x, "float32") if keras.backend.standardize_dtype(x.dtype) in DTYPES else x
    return keras.ops.convert_to_numpy(x)


def agree(got: Any, want: Any, rtol: float = 1e-5, atol: float = 1e-6) -> None:
    np.testing.assert_allclose(array(got), want, rtol=rtol, atol=atol)


def value_and_gradients(loss: Callable[..., Any], *inputs: Any) -> tuple[np.ndarray, list[np.ndarray]]:
    """The value of `loss(*inputs)` and its gradients by every input, zeros where it does not depend on one."""
    tensors = [keras.ops.convert_to_tensor(x) for x in inputs]
    if keras.backend.backend() == "jax":
        import jax

        value, gradients = jax.value_and_grad(loss, argnums=tuple(range(len(tensors))))(*tensors)
    else:
        import tensorflow as tf

        with tf.GradientTape() as tape:
            tape.watch(tensors)
            value = loss(*tensors)
        gradients = tape.gradient(value, tensors, unconnected_gradients="zero")
    return array(value), [array(gradient) for gradient in gradients]


def difference_quotients(twin: Callable[..., float], *inputs: np.ndarray, step: float = 1e-6) -> list[np.ndarray]:
    """Central differences of a float64 loop twin by every entry of every input."""
    quotients = []
    for which, x in enumerate(inputs):
        slope = np.empty(x.shape)
        for index in np.ndindex(x.shape):
            ends = []
            for sign in (1, -1):
                moved = [np.array(other, np.float64) for other in inputs]
                moved[which][index] += sign * step
                ends.append(twin(*moved))
            slope[index] = (ends[0] - ends[1]) / (2 * step)
        quotients.append(slope)
    return quotients


def rounded(x: np.ndarray, dtype: str) -> tuple[Any, np.ndarray]:
    """`x` as a tensor of `dtype`, and the values it then has in float64."""
    tensor = keras.ops.convert_to_tensor(x.astype("float32"), dtype)
    return tensor, array(tensor).astype(np.float64)


def random_sides(seed: int, n: int, m: int, d: int, classes: int, dtype: str) -> tuple[Any, ...]:
    """Two random sides, each as (tensor, float64 values), and the labels of both."""
    random = np.random.default_rng(seed)
    sides = [rounded(random.normal(0, 1, (rows, d)), dtype) for rows in (n, m)]
    return *sides, random.integers(0, classes, n), random.integers(0, classes, m)
