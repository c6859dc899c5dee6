"""Both directions of an LSTM in one loop over time, with the gradient written out."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from xmkeras.layers import PortableLSTM

Tensor = Any


@keras.saving.register_keras_serializable(package="xmkeras")
class BidirectionalLSTM(keras.layers.Bidirectional):
    """An LSTM read both ways: (B, L, f) with mask (B, L) -> (B, L, 2u), forward states before backward ones.

    Equal to `keras.layers.Bidirectional(keras.layers.LSTM(u, return_sequences=True))`, of which it has the variables
    and their names, to rounding: a masked step keeps the state, and gives 0. On a CPU a training step of a small batch
    takes a quarter of the time: the input products of all steps and both directions are one matrix product, one loop
    advances both directions, and the backward loop computes nothing but the states' gradient; those of the weights are
    one product over all steps behind it. On a GPU training goes through cuDNN as in Keras.

    Args:
        units: u, of each direction.
        **kwargs: of a layer.
    """

    def __init__(self, units: int, **kwargs: Any):
        self.units = units
        lstm = PortableLSTM(units, return_sequences=True, dtype=kwargs.get("dtype"), name="lstm")
        super().__init__(lstm, merge_mode="concat", **kwargs)

    def call(
        self, sequences: Tensor, initial_state: Any = None, mask: Tensor | None = None, training: bool | None = None
    ) -> Tensor:
        # cuDNN has its own kernels for a training step.
        if initial_state is not None or (training and tf.config.list_logical_devices("GPU")):
            return super().call(sequences, initial_state=initial_state, mask=mask, training=training)
        x = tf.cast(sequences, self.compute_dtype)
        cells = [self.forward_layer.cell, self.backward_layer.cell]
        kernel = tf.concat([_value(cell.kernel, x) for cell in cells], axis=1)
        recurrent = tf.stack([_value(cell.recurrent_kernel, x) for cell in cells])
        bias = tf.concat([_value(cell.bias, x) for cell in cells], axis=0)
        there = tf.ones(tf.shape(x)[:2], x.dtype) if mask is None else tf.cast(mask, x.dtype)
        read = _read_with_gradient if training else _read
        outputs = read(x, kernel, recurrent, bias, there)
        return tf.ensure_shape(outputs, (*sequences.shape[:2], 2 * self.units))

    def get_config(self) -> dict[str, Any]:
        inherited = keras.layers.Layer.get_config(self)
        return {**inherited, "units": self.units}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> BidirectionalLSTM:
        return cls(**config)


def _value(variable: Any, like: Tensor) -> Tensor:
    return tf.cast(tf.convert_to_tensor(variable), like.dtype)


# Inside, the batch is the last axis: directions, units, steps, batch. The weights then stand on the left of the
# products of a step, and are not packed anew for each of them; gates are cut where memory lies together; and the steps
# of a loop work on what fits a cache. The backward direction is read from its end: at step t of a loop,
# `steps - 1 - t`.


def _columns(x: Tensor) -> Tensor:
    # (B, L, f) -> (f, L, B), and back again.
    return tf.transpose(x, [2, 1, 0])


def _turned(x: Tensor) -> Tensor:
    # (k, L, B) as either direction meets it: (2, k, L, B).
    return tf.stack([x, tf.reverse(x, [1])])


def _of_steps(there: Tensor) -> Tensor:
    # (B, L) -> (L, 2, 1, B), as the loop meets it.
    columns = tf.transpose(there)[:, None, :]
    return tf.stack([columns, tf.reverse(columns, [0])], axis=1)


def _in_order(states: Tensor) -> Tensor:
    # (L, 2, u, B) -> (B, L, 2u)
    forward, backward = tf.unstack(states, axis=1)
    return tf.transpose(tf.concat([forward, tf.reverse(backward, [0])], axis=1), [2, 0, 1])


def _products(weights: Tensor, x: Tensor, **sides: bool) -> Tensor:
    # (2, m, k) by (2, k, n): two products take half the time of a batched one.
    return tf.stack([tf.matmul(weights[way], x[way], **sides) for way in range(2)])


def _gates_of_inputs(x: Tensor, kernel: Tensor, bias: Tensor) -> Tensor:
    """(B, L, f) -> (2, 4u, L, B): what the inputs give to the gates, in one product."""
    batch, steps, width = tf.unstack(tf.shape(x))
    flat = tf.matmul(tf.transpose(kernel), tf.reshape(_columns(x), [width, steps * batch])) + bias[:, None]
    return tf.reshape(flat, [2, kernel.shape[1] // 2, steps, batch])


def _gates_of_one(x: Tensor, kernel: Tensor, bias: Tensor) -> Tensor:
    """The same of a single sequence, without turning the kernel: (1, L, f) -> (2, 4u, L, 1)."""
    flat = tf.transpose(tf.matmul(x[0], kernel) + bias)
    return tf.reshape(flat, [2, kernel.shape[1] // 2, tf.shape(x)[1], tf.shape(x)[0]])


def _advance(
    from_inputs: Tensor, there: Tensor, recurrent: Tensor, *, keep: bool = False, transpose: bool = False
) -> list[tf.TensorArray]:
    """States h (2, u, B), and where `keep` contents c (2, u, B) and gates (2, 4u, B), by steps.

    Of states and contents the first is that before the first step.

    Args:
        from_inputs: (2, 4u, L, B): input gate, forget gate, new content, output gate, before their functions.
        there: (L, 2, 1, B), 1 or 0.
        recurrent: (2, 4u, u), or with `transpose` (2, u, 4u).
        keep: whether a backward pass will follow.
        transpose: which of the two.
    """
    units, dtype = from_inputs.shape[1] // 4, from_inputs.dtype
    steps, batch = tf.shape(from_inputs)[2], tf.shape(from_inputs)[3]
    zero = tf.zeros([2, units, batch], dtype)
    arrays = [_array(dtype, steps + 1, units).write(0, zero) for _ in range(2 if keep else 1)]
    arrays += [_array(dtype, steps, 4 * units)] if keep else []

    def step(t: Tensor, h: Tensor, c: Tensor, *arrays: tf.TensorArray) -> tuple[Any, ...]:
        inputs = tf.stack([from_inputs[0, :, t], from_inputs[1, :, steps - 1 - t]])
        gates = inputs + _products(recurrent, h, transpose_a=transpose)
        i_f, g, o = tf.split(gates, [2 * units, units, units], axis=1)
        i_f, g, o = tf.sigmoid(i_f), tf.tanh(g), tf.sigmoid(o)
        i, f = tf.split(i_f, 2, axis=1)
        new_c = f * c + i * g
        h, c = h + there[t] * (o * tf.tanh(new_c) - h), c + there[t] * (new_c - c)
        written = [arrays[0].write(t + 1, h)]
        if keep:
            written += [arrays[1].write(t + 1, c), arrays[2].write(t, tf.concat([i_f, g, o], axis=1))]
        return t + 1, h, c, *written

    loop = tf.while_loop(lambda t, *_: t < steps, step, (0, zero, zero, *arrays), maximum_iterations=steps)
    return list(loop[3:])


def _array(dtype: Any, steps: Tensor, height: int) -> tf.TensorArray:
    return tf.TensorArray(dtype, steps, element_shape=(2, height, None), clear_after_read=False)


def _read(x: Tensor, kernel: Tensor, recurrent: Tensor, bias: Tensor, there: Tensor) -> Tensor:
    there = _of_steps(there)

    def one() -> Tensor:
        # A single sequence reads the weights as they lie: to turn them takes as long as a dozen steps.
        return _advance(_gates_of_one(x, kernel, bias), there, recurrent, transpose=True)[0].stack()

    def many() -> Tensor:
        turned = tf.transpose(recurrent, [0, 2, 1])
        return _advance(_gates_of_inputs(x, kernel, bias), there, turned)[0].stack()

    return _in_order(tf.cond(tf.shape(x)[0] == 1, one, many)[1:] * there)


@tf.custom_gradient
def _read_with_gradient(
    x: Tensor, kernel: Tensor, recurrent: Tensor, bias: Tensor, there: Tensor
) -> tuple[Tensor, Any]:
    there = _of_steps(there)
    turned = tf.transpose(recurrent, [0, 2, 1])
    written, contents, gates = _advance(_gates_of_inputs(x, kernel, bias), there, turned, keep=True)
    states = written.stack()

    def gradient(upstream: Tensor) -> tuple[Tensor | None, ...]:
        units = recurrent.shape[1]
        d_states = tf.split(_columns(upstream), 2, axis=0)
        d_gates = _retreat(tf.stack([d_states[0], tf.reverse(d_states[1], [1])]), contents, gates, there, recurrent)
        d_recurrent = _outer(_flat(states[:-1]), d_gates)
        batch, steps, width = tf.unstack(tf.shape(x))
        inputs = tf.reshape(_turned(_columns(x)), [2, width, steps * batch])
        d_kernel = tf.concat(tf.unstack(_outer(inputs, d_gates)), axis=1)
        d_x = _products(tf.stack(tf.split(kernel, 2, axis=1)), d_gates)
        forward, backward = tf.unstack(tf.reshape(d_x, [2, width, steps, batch]))
        d_bias = tf.reshape(tf.reduce_sum(d_gates, axis=2), [8 * units])
        return _columns(forward + tf.reverse(backward, [1])), d_kernel, d_recurrent, d_bias, None

    return _in_order(states[1:] * there), gradient


def _outer(x: Tensor, d_gates: Tensor) -> Tensor:
    """(2, m, n) and (2, k, n) -> (2, m, k), the sum over the items of all steps."""

    def directly() -> Tensor:
        return _products(x, d_gates, transpose_b=True)

    def turned() -> Tensor:
        return tf.transpose(_products(d_gates, x, transpose_b=True), [0, 2, 1])

    # The larger factor stands better on the left, but to turn the product has a price.
    return tf.cond(tf.shape(x)[2] > 1024, turned, directly)


def _flat(x: Tensor) -> Tensor:
    # (L, 2, k, B) -> (2, k, L B)
    return tf.reshape(tf.transpose(x, [1, 2, 0, 3]), [2, x.shape[2], -1])


def _retreat(
    upstream: Tensor, contents: tf.TensorArray, gates: tf.TensorArray, there: Tensor, recurrent: Tensor
) -> Tensor:
    """The gradient of the gates before their functions, (2, 4u, L B), of upstream's of the states (2, u, L, B)."""
    units, dtype = recurrent.shape[1], upstream.dtype
    steps, batch = tf.shape(upstream)[2], tf.shape(upstream)[3]
    zero = tf.zeros([2, units, batch], dtype)

    def step(t: Tensor, d_h: Tensor, d_c: Tensor, array: tf.TensorArray) -> tuple[Any, ...]:
        i, f, g, o = tf.split(gates.read(t), 4, axis=1)
        tanh_c = tf.tanh(contents.read(t + 1))
        d_h = d_h + there[t] * upstream[:, :, t]
        d_new_h = there[t] * d_h
        d_new_c = there[t] * d_c + d_new_h * o * (1 - tanh_c * tanh_c)
        d_gates = tf.concat(
            [
                d_new_c * g * i * (1 - i),
                d_new_c * contents.read(t) * f * (1 - f),
                d_new_c * i * (1 - g * g),
                d_new_h * tanh_c * o * (1 - o),
            ],
            axis=1,
        )
        absent = 1 - there[t]
        d_before = _products(recurrent, d_gates) + absent * d_h
        return t - 1, d_before, d_new_c * f + absent * d_c, array.write(t, d_gates)

    first = (steps - 1, zero, zero, _array(dtype, steps, 4 * units))
    return _flat(tf.while_loop(lambda t, *_: t >= 0, step, first, maximum_iterations=steps)[3].stack())
