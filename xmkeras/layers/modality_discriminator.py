"""The discriminator of TIMAM: one logit that tells images from texts."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

Tensor = Any


@keras.saving.register_keras_serializable(package="xmkeras")
class ModalityDiscriminator(keras.layers.Layer):
    """Dense `units` -> batch norm -> leaky ReLU -> Dense 1 (paper 004), embeddings (n, d) -> logits (n, 1), float32.

    It is meant to see one modality at a time: batch norm by the statistics of the call then hides mean and scale of
    the modality, which would give it away. The first layer has no bias, since batch norm takes it away again.

    Args:
        units: size of the hidden layer.
        slope: of the leaky ReLU below 0.
        momentum: share of the moving statistics that a call with `update_statistics` keeps.
        epsilon: added to the variance.
    """

    def __init__(
        self, units: int = 256, *, slope: float = 0.2, momentum: float = 0.99, epsilon: float = 1e-3, **kwargs: Any
    ):
        super().__init__(**{"dtype": "float32", **kwargs})
        self.units = units
        self.slope = slope
        self.momentum = momentum
        self.epsilon = epsilon
        self.hidden = keras.layers.Dense(units, use_bias=False, dtype=self.dtype_policy, name="hidden")
        self.logit = keras.layers.Dense(1, dtype=self.dtype_policy, name="logit")

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        shape = (self.units,)
        self.hidden.build(input_shape)
        self.gamma = self.add_weight(shape=shape, initializer="ones", name="gamma")
        self.beta = self.add_weight(shape=shape, initializer="zeros", name="beta")
        self.moving_mean = self.add_weight(shape=shape, initializer="zeros", trainable=False, name="moving_mean")
        self.moving_variance = self.add_weight(shape=shape, initializer="ones", trainable=False, name="moving_variance")
        self.logit.build((None, self.units))
        self.built = True

    def call(self, x: Tensor, batch_statistics: bool = True, update_statistics: bool = False) -> Tensor:
        """Logits of embeddings.

        Args:
            x: (n, d).
            batch_statistics: normalise by the mean and variance of `x`; else by the moving ones.
            update_statistics: average them into the moving ones; for the discriminator's own step only.
        """
        x = self.hidden(x)
        mean, variance = ops.convert_to_tensor(self.moving_mean), ops.convert_to_tensor(self.moving_variance)
        if batch_statistics:
            mean = ops.mean(x, axis=0)
            variance = ops.mean(ops.square(x - mean), axis=0)
            if update_statistics:
                for moving, value in ((self.moving_mean, mean), (self.moving_variance, variance)):
                    moving.assign(moving * self.momentum + ops.stop_gradient(value) * (1.0 - self.momentum))
        x = (x - mean) * ops.rsqrt(variance + self.epsilon) * self.gamma + self.beta
        return self.logit(ops.leaky_relu(x, negative_slope=self.slope))

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return (*input_shape[:-1], 1)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "units": self.units,
            "slope": self.slope,
            "momentum": self.momentum,
            "epsilon": self.epsilon,
        }
