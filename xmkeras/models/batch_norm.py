"""Batch norm of images by TensorFlow's fused kernels, or folded into the layers before it where nothing trains."""

from __future__ import annotations

import collections
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
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
        gamma = tf.ones_like(self.moving_variance) if self.gamma is None else self.gamma
        weights = [tf.convert_to_tensor(w) for w in (gamma, self.beta)]
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


def with_folded_batch_norm(model: keras.Model) -> keras.Model:
    """A functional `model` for inference, with each batch norm folded into the convolution or dense layer before it.

    A batch norm in inference is a factor and an offset a channel, which a kernel and a bias take in. Outputs differ by
    the rounding of float32, at most 2e-5 of the largest. What is not folded is shared with `model`; the folded layers
    do not follow its later weights.

    Args:
        model: of any layers, models inside it included. Folded are pairs in float32 of a `Conv2D`, `DepthwiseConv2D` or
            `Dense` without activation, and a batch norm that alone reads it.

    Returns:
        A model of the same name, inputs and outputs; `model` itself where it has no such pair.
    """
    if not isinstance(model, keras.Function):
        return model
    norms = dict(_foldable(model))
    new = {layer.name: with_folded_batch_norm(layer) for layer in model.layers if isinstance(layer, keras.Model)}
    new |= {name: _folded(model.get_layer(name), norm) for name, norm in norms.items()}
    if all(layer is model.get_layer(name) for name, layer in new.items()):
        return model
    gone = {norm.name for norm in norms.values()}
    return keras.models.clone_model(
        model,
        clone_function=lambda layer: new.get(layer.name, layer),
        call_function=lambda layer, *args, **options: args[0] if layer.name in gone else layer(*args, **options),
    )


def _foldable(model: keras.Model) -> Iterator[tuple[str, keras.layers.BatchNormalization]]:
    """The names of the layers that a batch norm alone reads, with that batch norm."""
    nodes = [node for level in model._nodes_by_depth.values() for node in level]
    calls = collections.Counter(node.operation.name for node in nodes)
    readers = collections.defaultdict(list)
    for node in nodes:
        for tensor in node.input_tensors:
            readers[id(tensor)].append(node.operation)
    for output in model.outputs:
        readers[id(output)].append(None)
    for node in nodes:
        layer, read_by = node.operation, readers[id(node.outputs[0])]
        if len(read_by) == 1 and _fit(layer, read_by[0]) and calls[layer.name] == calls[read_by[0].name] == 1:
            yield layer.name, read_by[0]


def _fit(layer: Any, norm: Any) -> bool:
    return (
        type(layer) in (keras.layers.Conv2D, keras.layers.DepthwiseConv2D, keras.layers.Dense)
        and isinstance(norm, keras.layers.BatchNormalization)
        and layer.activation is keras.activations.linear
        and getattr(layer, "data_format", "channels_last") == "channels_last"
        and norm.axis in (-1, len(norm.input.shape) - 1)
        # Half precision would round what the norm has in float32.
        and layer.compute_dtype == norm.compute_dtype == "float32"
    )


def _folded(layer: keras.layers.Layer, norm: keras.layers.BatchNormalization) -> keras.layers.Layer:
    """A layer like `layer` that does what both do."""
    kernel, *bias = layer.get_weights()
    mean, variance = (np.asarray(weight, np.float64) for weight in (norm.moving_mean, norm.moving_variance))
    scale = (1.0 if norm.gamma is None else np.asarray(norm.gamma)) / np.sqrt(variance + norm.epsilon)
    offset = (0.0 if norm.beta is None else np.asarray(norm.beta)) + (sum(bias) - mean) * scale
    # Zeros draw nothing from the random numbers that others begin with.
    config = {key: "zeros" if key.endswith("_initializer") else value for key, value in layer.get_config().items()}
    folded = type(layer).from_config({**config, "use_bias": True, "trainable": False})
    folded.build(layer.input.shape)
    # The last axes of a kernel are the channels of the output, one behind the other, of a depthwise one too.
    folded.set_weights([(kernel.reshape(-1, len(scale)) * scale).reshape(kernel.shape), offset])
    return folded
