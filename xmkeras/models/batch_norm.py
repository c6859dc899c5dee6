"""Batch norm of images by TensorFlow's fused kernels."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

Tensor = Any


@keras.saving.register_keras_serializable(package="xmkeras")
class BatchNormalization(keras.layers.BatchNormalization):
    """keras.layers.BatchNormalization of (B, H, W, C) with the same arguments and values, but faster.

    Keras composes batch norm of a dozen element-wise operations, which cost more than the convolutions of a
    MobileNet on a CPU; one fused kernel a pass takes a third off a training step. Statistics over several
    replicas are left to Keras.
    """

    def call(self, inputs: Tensor, training: bool | None = None, mask: Tensor | None = None) -> Tensor:
        training = bool(training) and self.trainable
        if mask is not None or (training and self._spans_replicas()):
            return super().call(inputs, training=training, mask=mask)
        weights = [tf.convert_to_tensor(w) for w in (self.gamma, self.beta)]
        if not training:
            statistics = [tf.convert_to_tensor(w) for w in (self.moving_mean, self.moving_variance)]
            return self._fused(inputs, *weights, *statistics, is_training=False).y
        empty = tf.zeros((0,))
        result = self._fused(inputs, *weights, empty, empty, is_training=True)
        # The kernel returns the variance of a sample; Keras averages that of the batch, divided by n.
        count = tf.cast(tf.reduce_prod(tf.shape(inputs)[:-1]), "float32")
        self._move(self.moving_mean, result.batch_mean)
        self._move(self.moving_variance, result.batch_variance * (count - 1) / count)
        return result.y

    def _fused(self, inputs: Tensor, *weights: Tensor, is_training: bool) -> Any:
        return tf.raw_ops.FusedBatchNormV3(
            x=inputs,
            scale=weights[0],
            offset=weights[1],
            mean=weights[2],
            variance=weights[3],
            epsilon=self.epsilon,
            is_training=is_training,
        )

    def _move(self, average: keras.Variable, value: Tensor) -> None:
        average.assign(average * self.momentum + value * (1.0 - self.momentum))

    def _spans_replicas(self) -> bool:
        context = tf.distribute.get_replica_context()
        return bool(self.synchronized and context is not None and context.num_replicas_in_sync > 1)


def with_fused_batch_norm(network: keras.Model) -> keras.Model:
    """A functional `network` again, with the same names and weights and fused batch norm."""

    def copy(layer: keras.layers.Layer) -> keras.layers.Layer:
        kind = BatchNormalization if isinstance(layer, keras.layers.BatchNormalization) else type(layer)
        return kind.from_config(layer.get_config())

    fused = keras.models.clone_model(network, clone_function=copy)
    fused.set_weights(network.get_weights())
    return fused
