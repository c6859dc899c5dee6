"""A moving average of the weights, which evaluation and export use in place of the last weights.

The CMPM release tests with such averages (decay 0.9999). They start like a plain mean: update t uses the
decay `min(decay, (1 + t) / (10 + t))`, as TensorFlow's `ExponentialMovingAverage` does with `num_updates`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import tensorflow as tf

# Every replica computes the same average, so the first one's is everyone's.
_MIRRORED = tf.VariableAggregation.ONLY_FIRST_REPLICA


class MovingAverage:
    """Float32 averages of all floating-point variables, the statistics of batch norm included.

    Create it under the strategy's scope, when the variables have their first values.

    Args:
        variables: Keras variables by name.
        decay: share of the old average that an update keeps in the long run, 0 <= decay < 1.

    Raises:
        ValueError: the decay is out of its range.
    """

    def __init__(self, variables: Mapping[str, Any], decay: float):
        if not 0 <= decay < 1:
            raise ValueError(f"The decay of a moving average must be in [0, 1), not {decay}")
        self._decay = decay
        self._updates = tf.Variable(0, trainable=False, dtype=tf.int64, aggregation=_MIRRORED)
        self._weights = {name: v.value for name, v in variables.items() if tf.as_dtype(v.dtype).is_floating}
        self._averages = {
            name: tf.Variable(tf.cast(weight, tf.float32), trainable=False, aggregation=_MIRRORED)
            for name, weight in self._weights.items()
        }

    @property
    def variables(self) -> dict[str, tf.Variable]:
        """The averages by the names of their variables, and the count of updates, for the checkpoint."""
        return {**self._averages, "updates": self._updates}

    def update(self) -> None:
        """Moves the averages towards the present weights; for use inside a `tf.function`, after the step."""
        t = tf.cast(self._updates, tf.float32)
        share = 1.0 - tf.minimum(self._decay, (1.0 + t) / (10.0 + t))
        for name, average in self._averages.items():
            old = tf.convert_to_tensor(average)
            average.assign(old + share * (tf.cast(self._weights[name], tf.float32) - old))
        self._updates.assign_add(1)

    @contextlib.contextmanager
    def averaged(self) -> Iterator[None]:
        """While entered, the variables hold their averages; afterwards the very bits they had before.

        Save no checkpoint inside: it would take the averages for the weights.
        """
        kept = {name: tf.identity(weight) for name, weight in self._weights.items()}
        try:
            for name, weight in self._weights.items():
                weight.assign(tf.cast(self._averages[name], weight.dtype))
            yield
        finally:
            for name, weight in self._weights.items():
                weight.assign(kept[name])
