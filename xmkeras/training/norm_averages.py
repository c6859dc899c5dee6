"""The statistics that batch norms use in inference, averaged so that they suit a run of any length."""

from __future__ import annotations

import keras
import tensorflow as tf

from xmkeras.method import Method

_LAG = 10


def momentum_at(step: int, most: float) -> float:
    """What a step keeps of the old average: at most (1 + step) / (10 + step), as TensorFlow's moving averages do.

    The first statistics, which say nothing of the data, are forgotten within ten steps or so, and an average spans
    about a ninth of the steps taken, until it spans 1 / (1 - most) of them.

    Args:
        step: number of steps done before, from 0.
        most: the momentum of long runs, 0 to 1.
    """
    return min(most, (1 + step) / (_LAG + step))


class NormAverages:
    """Sets the momentum of every batch norm of a method from step to step; built in the scope of the strategy.

    No variable of it lies in a checkpoint: the momentum follows from the step.
    """

    def __init__(self, method: Method):
        self._momenta: dict[float, tf.Variable] = {}
        for part in method.named_parts().values():
            for layer in part._flatten_layers(include_self=True, recursive=True):
                # A layer that two parts share is met twice.
                if isinstance(layer, keras.layers.BatchNormalization) and isinstance(layer.momentum, float):
                    layer.momentum = self._momentum(layer.momentum)

    def start_step(self, step: int) -> None:
        """To be called before each step, outside of the replicas' context, with its number in the stage."""
        for most, momentum in self._momenta.items():
            momentum.assign(momentum_at(step, most))

    def _momentum(self, most: float) -> tf.Variable:
        if most not in self._momenta:
            self._momenta[most] = tf.Variable(most, trainable=False, dtype=tf.float32, name="norm_momentum")
        return self._momenta[most]
