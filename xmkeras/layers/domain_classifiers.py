"""Where ADDR has the classifier of a pair from, if it is not fitted inside of the step: a table, or a small net."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

Tensor = Any


@keras.saving.register_keras_serializable(package="xmkeras")
class DomainTable(keras.layers.Layer):
    """A linear classifier for each label, labels (n,) -> weights (n, d) and biases (n,), float32, zeros at first.

    Args:
        count: number of labels.
        dim: size d of words and regions.
    """

    def __init__(self, count: int, dim: int, **options: Any):
        super().__init__(**{"dtype": "float32", **options})
        self.count, self.dim = count, dim
        self.kernel = self.add_weight(shape=(count, dim), initializer="zeros", name="kernel")
        self.bias = self.add_weight(shape=(count,), initializer="zeros", name="bias")
        self.built = True

    def call(self, labels: Tensor) -> tuple[Tensor, Tensor]:
        return ops.take(self.kernel, labels, axis=0), ops.take(self.bias, labels, axis=0)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "count": self.count, "dim": self.dim}


@keras.saving.register_keras_serializable(package="xmkeras")
class DomainNet(keras.layers.Layer):
    """Linear classifiers of what a pair looks like on the whole: (n, 2 d) -> weights (n, d) and biases (n,), float32.

    Args:
        dim: size d of words and regions.
        units: of the hidden layer.
    """

    def __init__(self, dim: int, units: int = 64, **options: Any):
        super().__init__(**{"dtype": "float32", **options})
        self.dim, self.units = dim, units
        self.hidden = keras.layers.Dense(units, activation="tanh", dtype="float32", name="hidden")
        self.classifier = keras.layers.Dense(dim + 1, dtype="float32", name="classifier")

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        self.hidden.build(input_shape)
        self.classifier.build((None, self.units))
        self.built = True

    def call(self, means: Tensor) -> tuple[Tensor, Tensor]:
        given = self.classifier(self.hidden(means))
        return given[:, :-1], given[:, -1]

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "dim": self.dim, "units": self.units}
