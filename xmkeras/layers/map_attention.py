"""Attention of a network's last features over an earlier feature map (general discriminative features)."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

Tensor = Any

KINDS = ("additive", "additive_full", "multiplicative", "multi_dimensional")
AXES = ("positions", "features")


@keras.saving.register_keras_serializable(package="xmkeras")
class MapAttention(keras.layers.Layer):
    """Pools a map (B, H, W, c) over its positions, weighted by how they suit u (B, l): -> (B, c).

    With q_j the c features of position j, in the names of paper 002 (equations 8 to 15):

    - "additive" (11): S_j = w . activation(W1 q_j + u)
    - "additive_full" (10): S_j = w . activation(W1 q_j + W2 u)
    - "multiplicative" (9): S_j = (W1 q_j) . u, and (8) with `project_features`: (W1 q_j) . (W2 u)
    - "multi_dimensional" (12): S_j = W^T activation(W1 q_j + u) with W (l, c): a score for each feature

    and p = sum_j softmax(S)_j q_j. W1 is (l, c), W2 (l, l), w (l,); the scores are computed in float32.

    Args:
        kind: one of the four above.
        axis: of the softmax of "multi_dimensional": "positions", or "features" as equation 15 prints.
        activation: tanh; the paper does not name it.
        project_features: W2 also in "multiplicative".
        use_bias: a bias beside W1, which the paper has not.

    Raises:
        ValueError: an unknown kind or axis.

    Example:

    >>> from keras import ops
    >>> from xmkeras import layers
    >>> feature_map, last = ops.ones((2, 7, 7, 6)), ops.ones((2, 10))
    >>> layers.MapAttention("additive")([feature_map, last]).shape[1]
    6
    """

    def __init__(
        self,
        kind: str = "additive",
        *,
        axis: str = "positions",
        activation: Any = "tanh",
        project_features: bool = False,
        use_bias: bool = False,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        if kind not in KINDS:
            raise ValueError(f"kind must be one of {', '.join(KINDS)}, not {kind!r}.")
        if axis not in AXES:
            raise ValueError(f"axis must be one of {', '.join(AXES)}, not {axis!r}.")
        self.kind = kind
        self.axis = axis
        self.activation = keras.activations.get(activation)
        self.project_features = project_features
        self.use_bias = use_bias

    def build(self, input_shape: list[tuple[int | None, ...]]) -> None:
        channels, features = input_shape[0][-1], input_shape[1][-1]
        self.W1 = self.add_weight(shape=(features, channels), initializer="glorot_uniform", name="W1")
        self.bias = self.add_weight(shape=(features,), initializer="zeros", name="bias") if self.use_bias else None
        self.W2 = self.w = None
        if self.kind == "additive_full" or (self.kind == "multiplicative" and self.project_features):
            self.W2 = self.add_weight(shape=(features, features), initializer="glorot_uniform", name="W2")
        if self.kind == "multi_dimensional":
            self.w = self.add_weight(shape=(features, channels), initializer="glorot_uniform", name="W")
        elif self.kind != "multiplicative":
            self.w = self.add_weight(shape=(features, 1), initializer="glorot_uniform", name="w")
        self.built = True

    def scores(self, positions: Tensor, u: Tensor) -> Tensor:
        """Scores of positions (B, n, c) for u (B, l), float32: (B, n, c) if multi-dimensional, else (B, n, 1)."""
        mapped = ops.matmul(positions, ops.transpose(ops.cast(self.W1, "float32")))
        if self.bias is not None:
            mapped = mapped + ops.cast(self.bias, "float32")
        if self.W2 is not None:
            u = ops.matmul(u, ops.transpose(ops.cast(self.W2, "float32")))
        if self.kind == "multiplicative":
            return ops.matmul(mapped, ops.expand_dims(u, 2))
        return ops.matmul(self.activation(mapped + ops.expand_dims(u, 1)), ops.cast(self.w, "float32"))

    def weights_of(self, feature_map: Tensor, u: Tensor) -> Tensor:
        """The attention weights (B, H W, 1), or (B, H W, c) if multi-dimensional, positions row by row."""
        positions = self._positions(feature_map)
        multiple = self.kind == "multi_dimensional" and self.axis == "features"
        return ops.softmax(self.scores(positions, ops.cast(u, "float32")), axis=2 if multiple else 1)

    def make_uniform(self) -> None:
        """Sets all scores to 0, so that p is the mean over the positions; one weight is 0 then, and still learns."""
        weight = self.W1 if self.w is None else self.w
        weight.assign(ops.zeros_like(weight))

    def _positions(self, feature_map: Tensor) -> Tensor:
        height, width, channels = ops.shape(feature_map)[1:]
        return ops.cast(ops.reshape(feature_map, (-1, height * width, channels)), "float32")

    def call(self, inputs: list[Tensor]) -> Tensor:
        feature_map, u = inputs
        pooled = ops.sum(self.weights_of(feature_map, u) * self._positions(feature_map), axis=1)
        return ops.cast(pooled, self.compute_dtype)

    def compute_output_shape(self, input_shape: list[tuple[int | None, ...]]) -> tuple[int | None, ...]:
        return (input_shape[0][0], input_shape[0][-1])

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "kind": self.kind,
            "axis": self.axis,
            "activation": keras.activations.serialize(self.activation),
            "project_features": self.project_features,
            "use_bias": self.use_bias,
        }
