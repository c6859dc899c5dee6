"""Freezes parts of a method for a stage, by the groups of its variables."""

from __future__ import annotations

from collections.abc import Sequence

import keras

from xmkeras.method import Method
from xmkeras.training.groups import Group, check_patterns, group_of


class Freezer:
    """Sets which variables of a method are trainable, stage after stage.

    What a model was built untrainable (pretrained word vectors, say) stays so in every stage.
    """

    def __init__(self, method: Method):
        self._names = method.named_variables()
        self._trainable = {name: variable.trainable for name, variable in self._names.items()}
        self._layers: list[tuple[keras.layers.Layer, bool]] = []
        for part in method.named_parts().values():
            # Parents come before their layers, so that resetting a parent does not undo its layers' own setting.
            layers = part._flatten_layers(include_self=True, recursive=True)
            self._layers.extend((layer, layer.trainable) for layer in layers)

    def freeze(self, groups: Sequence[Group]) -> None:
        """Makes the variables of frozen groups untrainable, and all others as they were built.

        A layer with all of its variables frozen is frozen itself, so that its batch norm keeps its statistics.

        Args:
            groups: ordered; the first whose pattern matches the whole name of a variable decides.

        Raises:
            UserError: a pattern of a frozen group matches no variable.
        """
        check_patterns((group.pattern for group in groups if group.frozen), self._names)
        for layer, trainable in self._layers:
            layer.trainable = trainable
        for name, variable in self._names.items():
            variable.trainable = self._trainable[name]
        frozen = {id(variable) for name, variable in self._names.items() if group_of(name, groups).frozen}
        for layer, _ in self._layers:
            if layer.variables and all(id(variable) in frozen for variable in layer.variables):
                layer.trainable = False
        for variable in self._names.values():
            if id(variable) in frozen:
                variable.trainable = False
