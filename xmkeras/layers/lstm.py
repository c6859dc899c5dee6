"""An LSTM that trains on cuDNN and exports without it."""

from __future__ import annotations

from typing import Any

import keras

Tensor = Any


@keras.saving.register_keras_serializable(package="xmkeras")
class PortableLSTM(keras.layers.LSTM):
    """keras.layers.LSTM with two differences, for use without its own dropout.

    cuDNN kernels are used in training only: a graph traced for inference on a machine with a GPU then also
    runs on one without. The cell's random state, whose name differs from process to process, is no variable.
    """

    def inner_loop(self, sequences: Tensor, initial_state: Any, mask: Tensor, training: bool = False) -> Any:
        if training:
            return super().inner_loop(sequences, initial_state, mask=mask, training=training)
        return keras.layers.RNN.inner_loop(self, sequences, initial_state, mask=mask, training=training)

    @property
    def variables(self) -> list[keras.Variable]:
        unused = self.cell.seed_generator.state
        return [variable for variable in super().variables if variable is not unused]
