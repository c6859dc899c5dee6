"""A number that is learnt, such as the temperature or the bias of a contrastive loss."""

from __future__ import annotations

import math
from typing import Any

import keras
from keras import ops

Tensor = Any


@keras.saving.register_keras_serializable(package="xmkeras")
class LearntScalar(keras.layers.Layer):
    """Gives its number, float32, whatever it is called with.

    Args:
        initial: the first value.
        positive: learn its logarithm, so that it stays above 0 and moves by factors.
        least: what it gives where it has fallen below; then it has no gradient.

    Example:

    >>> from xmkeras import layers
    >>> round(float(layers.LearntScalar(0.07, positive=True)(None)), 4)
    0.07
    """

    def __init__(self, initial: float, *, positive: bool = False, least: float | None = None, **options: Any):
        super().__init__(**{"dtype": "float32", **options})
        self.initial, self.positive, self.least = initial, positive, least
        start = keras.initializers.Constant(math.log(initial) if positive else initial)
        self.number = self.add_weight(shape=(), initializer=start, name="logarithm" if positive else "value")
        self.built = True

    def call(self, inputs: Any = None) -> Tensor:
        value = ops.exp(self.number) if self.positive else ops.convert_to_tensor(self.number)
        return value if self.least is None else ops.maximum(value, self.least)

    def get_config(self) -> dict[str, Any]:
        own = {"initial": self.initial, "positive": self.positive, "least": self.least}
        return {**super().get_config(), **own}
