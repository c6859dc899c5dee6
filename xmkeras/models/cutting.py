"""Cuts a network where everything passes through one tensor, so that what a frozen beginning makes can be kept."""

from __future__ import annotations

import collections
import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import keras


class Cut(NamedTuple):
    """The two halves of a model, on its own layers.

    Attributes:
        front: the inputs -> [what the named layer makes, each output of the network that is made before it].
        rest: these -> the outputs of the model.
    """

    front: keras.Model
    rest: keras.Model


def frozen_end(model: keras.Model) -> str | None:
    """The last layer of the network inside a model behind which everything passes and before which nothing trains.

    What it makes holds no more numbers than the input of the model: else reading it would cost more than making it.

    Returns:
        The layer's name; None where there is none behind a layer that has weights.
    """
    network = _network(model)
    most = sum(math.prod(one.shape[1:]) for one in model.inputs)
    end, weights = None, False
    for operations, tensor in _boundaries(network):
        if any(_changes(operation) for operation in operations):
            return end
        weights = weights or any(getattr(operation, "variables", ()) for operation in operations)
        if weights and math.prod(tensor.shape[1:]) <= most:
            end = tensor._keras_history.operation.name
    return end


def cut(model: keras.Model, name: str) -> Cut:
    """Cuts a model behind a layer of the network inside it, one that `frozen_end` may name."""
    network = _network(model)
    end = network.get_layer(name).output
    before = _made_before(network, name)
    early = [output for output in network.outputs if output is not end and id(output) in before]
    late = [output for output in network.outputs if output is not end and id(output) not in before]
    kept = keras.Model(network.inputs, [end, *early], name=f"{network.name}_front")
    (call,) = [node for node in _nodes(model) if node.operation is network] or [None]
    made = kept(call.input_tensors) if call else kept.outputs
    front = keras.Model(model.inputs, made, name=f"{model.name}_front")

    inputs = [keras.Input(one.shape[1:], name=f"cut_{number}") for number, one in enumerate((end, *early))]
    known = {id(one): given for one, given in zip((end, *early), inputs, strict=True)}
    late = list({id(output): output for output in late}.values())  # of two that are one, Keras would lose the first
    upper = keras.Model([end], late, name=f"{network.name}_rest")
    known |= zip(map(id, late), _listed(upper(inputs[:1])), strict=True)
    if call:
        known |= {id(one): known[id(output)] for one, output in zip(call.outputs, network.outputs, strict=True)}
        behind = [output for output in model.outputs if id(output) not in known]
        tail = keras.Model(call.outputs, behind, name=f"{model.name}_end")
        known |= zip(map(id, behind), _listed(tail([known[id(one)] for one in call.outputs])), strict=True)
    return Cut(front, keras.Model(inputs, [known[id(output)] for output in model.outputs], name=f"{model.name}_rest"))


def _network(model: keras.Model) -> keras.Model:
    """The only model inside a model, else the model itself."""
    inner = [layer for layer in model.layers if isinstance(layer, keras.Model)]
    return inner[0] if len(inner) == 1 else model


def _nodes(model: keras.Model) -> list[Any]:
    """The calls of a functional model's layers, each behind those whose outputs it takes."""
    return [node for depth in sorted(model._nodes_by_depth, reverse=True) for node in model._nodes_by_depth[depth]]


def _boundaries(network: keras.Model) -> Iterator[tuple[list[Any], keras.KerasTensor]]:
    """Each tensor through which everything passes, behind the operations since the last one."""
    nodes = [node for node in _nodes(network) if not node.is_input]
    readers = collections.Counter(id(tensor) for node in nodes for tensor in node.input_tensors)
    open_tensors = {id(tensor): tensor for tensor in network.inputs}
    since: list[Any] = []
    for node in nodes:
        since.append(node.operation)
        for tensor in node.input_tensors:
            readers[id(tensor)] -= 1
            if not readers[id(tensor)]:
                open_tensors.pop(id(tensor), None)
        open_tensors |= {id(tensor): tensor for tensor in node.outputs if readers[id(tensor)]}
        if len(open_tensors) == 1:
            yield since, next(iter(open_tensors.values()))
            since = []


def _made_before(network: keras.Model, name: str) -> set[int]:
    """The ids of the tensors that are made up to a layer through which everything passes."""
    made: set[int] = set()
    for node in _nodes(network):
        made |= {id(tensor) for tensor in node.outputs}
        if node.operation.name == name:
            break
    return made


def _changes(operation: Any) -> bool:
    """Whether training changes an operation: its weights, or what a forward pass moves, as a norm's statistics."""
    if not isinstance(operation, keras.layers.Layer):
        return False
    return bool(operation.trainable_variables) or bool(operation.trainable and operation.variables)


def _listed(tensors: Any) -> list[Any]:
    return list(tensors) if isinstance(tensors, list | tuple) else [tensors]
