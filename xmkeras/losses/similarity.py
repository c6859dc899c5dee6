"""Unit vectors and dot products in float32, shared by the losses."""

from __future__ import annotations

from typing import Any

from keras import ops

Tensor = Any

SQUARED_NORM_FLOOR = 1e-12


def as_float32(x: Tensor) -> Tensor:
    """`x` as a float32 tensor: in half precision similarities overflow and softmaxes lose their epsilon."""
    return ops.cast(ops.convert_to_tensor(x), "float32")


def unit(x: Tensor, axis: int = -1) -> Tensor:
    """`x` in float32 with unit vectors along `axis`; a zero vector stays zero and has the gradient 0."""
    x = as_float32(x)
    squared_norm = ops.sum(ops.square(x), axis=axis, keepdims=True)
    inverse_norm = ops.rsqrt(ops.maximum(squared_norm, SQUARED_NORM_FLOOR))
    # At 0 the floor would make a gradient of a million, more than float16 inputs can take.
    return x * ops.where(squared_norm > 0, inverse_norm, 0.0)


def projection_scores(queries: Tensor, targets: Tensor) -> Tensor:
    """Scalar projections of every query on every target's direction, (n, d) x (m, d) -> (n, m) float32.

    Only the targets are normalised: the query keeps its length (CMPM, paper 003, equation 1).
    """
    return ops.matmul(as_float32(queries), ops.transpose(unit(targets)))


def project(x: Tensor, onto: Tensor) -> Tensor:
    """Rows `(x_i . z_i) z_i` with z_i the unit rows of `onto`, (n, d) x (n, d) -> (n, d) float32."""
    direction = unit(onto)
    return ops.sum(as_float32(x) * direction, axis=-1, keepdims=True) * direction
