"""The mean of a scalar over an epoch, for schedules that follow a loss."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

Tensor = Any


@keras.saving.register_keras_serializable(package="xmkeras")
class EpochMean(keras.layers.Layer):
    """Adds a scalar up in every step; `roll` makes the mean of those since the last `roll` readable.

    Sum, count and mean are variables: registered as a head of a method, they are in its checkpoints, so that a run
    that continues within an epoch finds the mean of the whole of it, and a step that is skipped is not counted.

    Args:
        initial: the mean before the first epoch is over.

    Call arguments:
        value: a scalar tensor, the same in all replicas.

    Example:

    >>> import keras
    >>> from xmkeras import layers
    >>> mean = layers.EpochMean()
    >>> for loss in (2.0, 4.0):
    ...     _ = mean(keras.ops.convert_to_tensor(loss))
    >>> mean.roll()
    >>> mean.mean
    3.0
    """

    def __init__(self, initial: float = 0.0, **options: Any):
        super().__init__(**{"dtype": "float32", **options})
        self.initial = initial

    def build(self, input_shape: tuple[int, ...] = ()) -> None:
        # Replicas add equal values, of which the mean is the one that counts.
        options: dict[str, Any] = {"shape": (), "trainable": False, "aggregation": "mean"}
        self.total = self.add_weight(initializer="zeros", name="total", **options)
        self.count = self.add_weight(initializer="zeros", name="count", **options)
        initial = keras.initializers.Constant(self.initial)
        self.last = self.add_weight(initializer=initial, name="mean", **options)

    def call(self, value: Tensor) -> Tensor:
        self.total.assign(self.total + ops.cast(value, self.total.dtype))
        self.count.assign(self.count + 1.0)
        return value

    def compute_output_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        return input_shape

    @property
    def mean(self) -> float:
        """Of the last epoch that `roll` has ended."""
        return float(self.last.numpy())

    def roll(self) -> None:
        """Ends an epoch, outside of any graph and of replicas; where nothing was added the mean stays."""
        if self.count.numpy():
            self.last.assign(self.total / self.count)
            self.total.assign(0.0)
            self.count.assign(0.0)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "initial": self.initial}
