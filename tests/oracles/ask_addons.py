"""Run by test_addons.py: values and gradients of TensorFlow Addons on the arrays of inputs.npz."""

from __future__ import annotations

import sys
import types

import numpy as np

try:
    import tensorflow as tf
    import tf_keras.src.engine.keras_tensor as keras_tensor

    # Addons 0.23 looks for Keras 2 under the name that Keras 3 has taken.
    engine = types.ModuleType("keras.src.engine")
    engine.keras_tensor = keras_tensor
    sys.modules["keras.src.engine"] = engine
    sys.modules["keras.src.engine.keras_tensor"] = keras_tensor
    from tensorflow_addons import losses
except ImportError as error:
    print(error, file=sys.stderr)
    sys.exit(77)

inputs = np.load("inputs.npz")
outputs = {}


def record(name: str, loss, *names: str) -> None:
    tensors = [tf.constant(inputs[key]) for key in names]
    with tf.GradientTape() as tape:
        tape.watch(tensors)
        value = loss(*tensors)
    outputs[name] = value.numpy()
    for key, gradient in zip(names, tape.gradient(value, tensors), strict=True):
        outputs[f"{name} {key}"] = gradient.numpy()


labels = tf.constant(inputs["labels"])
for metric in ("L2", "squared-L2"):
    for margin in (0.2, 1.0):
        record(
            f"triplet {metric} {margin}",
            lambda x, metric=metric, margin=margin: losses.triplet_semihard_loss(labels, x, margin, metric),
            "x",
        )
record("n_pair", lambda x, z: losses.npairs_loss(labels, tf.matmul(x, z, transpose_b=True)), "x", "z")
np.savez("outputs.npz", **outputs)
