"""Gradient reversal: trains what lies below against the loss that what lies above minimises."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

Tensor = Any


@ops.custom_gradient
def _reversed(x: Tensor, factor: Tensor) -> Any:
    def gradient(*arguments: Tensor, upstream: Tensor | None = None) -> tuple[Tensor, Tensor]:
        # TensorFlow and JAX hand over the upstream gradient alone, PyTorch names it.
        upstream = arguments[0] if upstream is None else upstream
        return -ops.cast(factor, upstream.dtype) * upstream, ops.zeros_like(factor)

    return x, gradient


@keras.saving.register_keras_serializable(package="xmkeras")
class GradientReversal(keras.layers.Layer):
    """Identity whose gradient is multiplied by -factor (Ganin and Lempitsky, ICML 2015), any shape.

    The factor is a non-trainable float32 variable: it is saved with the model and can be changed between
    steps without a new trace, `layer.factor.assign(0.5)`. A negative factor lets both sides cooperate
    (Adapt-Adv of paper 002). A loss behind the layer with weight w reaches what is below with -factor w.

    Args:
        factor: lambda at the start.

    Example:

    >>> import keras
    >>> from xmkeras import layers
    >>> reversal = layers.GradientReversal(0.5)
    >>> features = keras.Input((4,))
    >>> modality = keras.layers.Dense(2)(reversal(features))
    >>> float(keras.ops.convert_to_numpy(reversal.factor))
    0.5
    """

    def __init__(self, factor: float = 1.0, **kwargs: Any):
        super().__init__(**kwargs)
        self.initial_factor = factor
        self.factor = self.add_weight(
            shape=(),
            initializer=keras.initializers.Constant(factor),
            trainable=False,
            dtype="float32",
            autocast=False,
            name="factor",
        )
        self.supports_masking = True
        self.built = True

    def call(self, x: Tensor) -> Tensor:
        return _reversed(x, ops.convert_to_tensor(self.factor))

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "factor": self.initial_factor}
