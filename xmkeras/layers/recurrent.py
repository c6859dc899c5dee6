"""An LSTM and a GRU that train on cuDNN and export without it."""

from __future__ import annotations

from typing import Any

import keras

Tensor = Any


class _Portable:
    """What both differ in from the layers of Keras, for use without their own dropout.

    cuDNN kernels are used in training only: a graph traced for inference on a machine with a GPU then also
    runs on one without. The cell's random state, whose name differs from process to process, is no variable.
    """

    def inner_loop(self, sequences: Tensor, initial_state: Any, mask: Tensor, training: bool = False) -> Any:
        if training:
            return super().inner_loop(sequences, initial_state, mask=mask, training=training)  # type: ignore[misc]
        return keras.layers.RNN.inner_loop(self, sequences, initial_state, mask=mask, training=training)

    @property
    def variables(self) -> list[keras.Variable]:
        unused = self.cell.seed_generator.state  # type: ignore[attr-defined]
        known = super().variables  # type: ignore[misc]
        return [variable for variable in known if variable is not unused]


@keras.saving.register_keras_serializable(package="xmkeras")
class PortableLSTM(_Portable, keras.layers.LSTM):
    """keras.layers.LSTM with cuDNN in training alone, and without the random state of its cell."""


@keras.saving.register_keras_serializable(package="xmkeras")
class PortableGRU(_Portable, keras.layers.GRU):
    """keras.layers.GRU with cuDNN in training alone, and without the random state of its cell.

    Its equations are those of PyTorch and cuDNN: the reset gate acts after the recurrent product.
    """
