"""The factor that keeps the gradients of float16 from vanishing."""

from __future__ import annotations

import tensorflow as tf


class LossScale:
    """Dynamic loss scale for float16: halves after an overflow, doubles after `patience` finite steps."""

    def __init__(self, initial: float = 2.0**15, patience: int = 2000):
        self.scale = tf.Variable(initial, trainable=False, dtype=tf.float32, name="loss_scale")
        self.finite_steps = tf.Variable(0, trainable=False, dtype=tf.int64, name="finite_steps")
        self._patience = patience

    @property
    def variables(self) -> dict[str, tf.Variable]:
        return {"loss_scale/scale": self.scale, "loss_scale/finite_steps": self.finite_steps}

    def update(self, finite: tf.Tensor) -> None:
        """Adapts the scale to whether the last step was finite; called outside of `strategy.run`."""
        count = tf.where(finite, self.finite_steps + 1, 0)
        grow = count >= self._patience
        factor = tf.where(finite, tf.where(grow, 2.0, 1.0), 0.5)
        self.scale.assign(tf.clip_by_value(self.scale * factor, 1.0, 2.0**24))
        self.finite_steps.assign(tf.where(grow, tf.zeros_like(count), count))
