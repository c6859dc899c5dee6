"""A GRU that trains on cuDNN and exports without it."""

from __future__ import annotations

from typing import Any

import keras

Tensor = Any


@keras.saving.register_keras_serializable(package="xmkeras")
class PortableGRU(keras.layers.GRU):
    """keras.layers.GRU with the two differences of `PortableLSTM`, for use without its own dropout.

    Its equations are those of PyTorch and cuDNN: the reset gate acts after the recurrent product.
    """

    def inner_loop(self, sequences: Tensor, initial_state: Any, mask: Tensor, training: bool = False) -> Any:
        if training:
            return super().inner_loop(sequences, initial_state, mask=mask, training=training)
        return keras.layers.RNN.inner_loop(self, sequences, initial_state, mask=mask, training=training)

    @property
    def variables(self) -> list[keras.Variable]:
        unused = self.cell.seed_generator.state
        return [variable for variable in super().variables if variable is not unused]
