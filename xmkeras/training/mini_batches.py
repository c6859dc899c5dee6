"""Embeds a batch in mini-batches: losses see the whole batch, memory holds the activations of a mini-batch.

Source: Gao, Zhang, Han and Callan, "Scaling Deep Contrastive Learning Batch Size under Memory Limited Setup",
RepL4NLP 2021 (GradCache): the gradient of the losses with respect to the embeddings is all that a tower needs to know
of the rest of the batch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf

from xmkeras.errors import UserError
from xmkeras.method import Batch, Encode, Method

Tensors = dict[str, tf.Tensor]


def encode_in_mini_batches(
    method: Method, size: int, encode: Encode | None = None, replicated: bool = False
) -> Encode:
    """Stands in for `method.towers.encode`: the same outputs and gradients, of `size` rows at a time.

    Each mini-batch is embedded twice, the second time, with the same dropout, for its gradient. What does not look at
    other rows is exactly as without mini-batches; batch norm sees the statistics of a mini-batch.

    Args:
        method: whose towers are trained.
        size: of a mini-batch, 1 or more; the last one of a batch may be smaller.
        encode: stands in for `method.towers.encode` where the caller has compiled it.
        replicated: whether several replicas train, in which no statistics can be gathered within a loop.

    Raises:
        UserError: towers with batch norm that several replicas train.
    """
    towers = method.towers
    whole = encode or towers.encode
    sides = {
        side: _Side(list(encoder.models.values()), _of_side(whole, side), size)
        for side, encoder in towers.sides.items()
    }
    if replicated and any(side.normalises for side in sides.values()):
        raise UserError(
            "--mini_batch_size on several devices needs towers without batch norm to train (--joint_norm=none, a "
            "frozen backbone); leave the flag away, or train on one device."
        )

    def in_mini_batches(side: str, batch: Batch, training: bool) -> Mapping[str, tf.Tensor]:
        if not training:
            return whole(side, batch, training)
        return sides[side](towers.sides[side].entries(batch))

    return in_mini_batches


def _of_side(encode: Encode, side: str) -> Callable[[Tensors], Tensors]:
    # Traced once a shape, though it is called in a loop forth and in one back.
    return tf.function(lambda entries: dict(encode(side, entries, True)), autograph=False, reduce_retracing=True)


class _Side:
    def __init__(self, models: Sequence[keras.Model], encode: Callable[[Tensors], Tensors], size: int):
        self._encode, self._size = encode, size
        self._trained = _distinct(variable for model in models for variable in model.trainable_variables)
        # What a forward pass writes: random states, which decide on its outputs, and averages, which do not.
        layers = [layer for model in models for layer in model._flatten_layers(include_self=False, recursive=True)]
        norms = [layer for layer in layers if isinstance(layer, keras.layers.BatchNormalization)]
        self._random = _distinct(v for model in models for v in model.variables if "int" in v.dtype)
        self._averages = _distinct(v for norm in norms for v in (norm.moving_mean, norm.moving_variance))
        self.normalises = any(norm.trainable for norm in norms)

    def __call__(self, entries: Tensors) -> Tensors:
        spec = {name: tf.TensorSpec((None, *value.shape[1:]), value.dtype) for name, value in entries.items()}
        structure: Tensors = self._encode.get_concrete_function(spec).structured_outputs  # type: ignore[attr-defined]
        names = list(structure)
        rows = tf.shape(next(iter(entries.values())))[0]

        @tf.custom_gradient
        def embedded(*trained: tf.Tensor) -> tuple[tuple[tf.Tensor, ...], Any]:
            outputs, random = self._forward(entries, structure, rows)

            def gradient(*upstream: tf.Tensor, variables: Any = None) -> Any:
                known = {
                    name: one for name, one in zip(names, upstream, strict=True) if structure[name].dtype.is_floating
                }
                found = self._backward(entries, known, random, rows)
                return found if variables is None else (found, [None] * len(variables))

            return tuple(outputs[name] for name in names), gradient

        trained = [tf.convert_to_tensor(variable.value) for variable in self._trained]
        return dict(zip(names, embedded(*trained), strict=True))

    def _forward(self, entries: Tensors, structure: Tensors, rows: tf.Tensor) -> tuple[Tensors, list[tf.Tensor]]:
        """The outputs, and the random states (mini-batches, ...) before each mini-batch."""
        count = -(-rows // self._size)
        arrays = {
            name: tf.TensorArray(value.dtype, count, infer_shape=False, element_shape=(None, *value.shape[1:]))
            for name, value in structure.items()
        }
        states = [tf.TensorArray(_read(one).dtype, count, element_shape=one.shape) for one in self._random]

        def body(number: tf.Tensor, arrays: Any, states: Any) -> Any:
            states = [array.write(number, _read(one)) for array, one in zip(states, self._random, strict=True)]
            outputs = self._encode(self._part(entries, number))
            arrays = {name: array.write(number, outputs[name]) for name, array in arrays.items()}
            return number + 1, arrays, states

        loop = (tf.constant(0), arrays, states)
        _, arrays, states = tf.while_loop(
            lambda number, *_: number < count, body, loop, maximum_iterations=count, parallel_iterations=1
        )
        return {name: array.concat() for name, array in arrays.items()}, [array.stack() for array in states]

    def _backward(
        self, entries: Tensors, upstream: Tensors, random: list[tf.Tensor], rows: tf.Tensor
    ) -> list[tf.Tensor | None]:
        """The gradient of each trained variable; None where no output depends on it."""
        count = -(-rows // self._size)
        after = [_read(one) for one in (*self._random, *self._averages)]
        variables = [variable.value for variable in self._trained]

        def body(number: tf.Tensor, sums: list[tf.Tensor]) -> Any:
            for variable, states in zip(self._random, random, strict=True):
                variable.value.assign(states[number])
            with tf.GradientTape() as tape:
                outputs = self._encode(self._part(entries, number))
            wanted = [outputs[name] for name in upstream]
            own = self._part(upstream, number)
            found = tape.gradient(wanted, variables, [own[name] for name in upstream])
            missing.update(place for place, more in enumerate(found) if more is None)
            added = zip(sums, found, strict=True)
            return number + 1, [one if more is None else one + tf.convert_to_tensor(more) for one, more in added]

        missing: set[int] = set()  # variables that no output depends on
        zeros = [tf.zeros(variable.shape, variable.dtype) for variable in self._trained]
        _, sums = tf.while_loop(
            lambda number, *_: number < count,
            body,
            (tf.constant(0), zeros),
            maximum_iterations=count,
            parallel_iterations=1,
        )
        with tf.control_dependencies(sums):
            for variable, value in zip((*self._random, *self._averages), after, strict=True):
                variable.value.assign(value)
        return [None if place in missing else one for place, one in enumerate(sums)]

    def _part(self, tensors: Tensors, number: tf.Tensor) -> Tensors:
        rows = slice(number * self._size, (number + 1) * self._size)
        return {name: value[rows] for name, value in tensors.items()}


def _read(variable: keras.Variable) -> tf.Tensor:
    return tf.identity(variable.value)


def _distinct(variables: Any) -> list[keras.Variable]:
    return list({id(variable): variable for variable in variables}.values())
