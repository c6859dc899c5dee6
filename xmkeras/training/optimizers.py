"""Trains each variable with the optimizer, rate and weight decay of its group.

This one mechanism serves embeddings at ten times the rate, and SGD for images beside Adam for texts.

Weight decay is decoupled as in Keras (AdamW, Loshchilov and Hutter): `w -= rate * decay * w`, apart from the
gradient step. The L2 term of the CMPM and TIMAM releases is part of their loss instead, so Adam divides it by
the scale of the gradients and the same number acts differently; for plain SGD the two are equal. Biases, the
gamma and beta of normalisation layers and all other vectors and scalars never decay.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf

from xmkeras.errors import UserError
from xmkeras.training.fused_adam import FusedAdam
from xmkeras.training.groups import OPTIMIZERS, Group, check_patterns, group_of

_SLOTS = {"adam": ("momentum", "velocity"), "sgd": ("momentum",)}


@dataclasses.dataclass(frozen=True)
class Defaults:
    """What a variable gets where its group says nothing.

    Attributes:
        optimizer: "adam", "adamw" (the same here: decay is always decoupled) or "sgd".
        learning_rate: the full rate, to which absolute rates of groups are related.
        weight_decay: decoupled decay, >= 0.
        momentum: of SGD, 0..1.
        beta_1, beta_2, epsilon: of Adam; the epsilon is that of the CMPM scripts, Keras' own is 1e-7.
    """

    optimizer: str = "adam"
    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    momentum: float = 0.9
    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-8


@dataclasses.dataclass(frozen=True, order=True)
class _Setting:
    """The variables that share all of this share one Keras optimizer."""

    optimizer: str
    multiple: float
    weight_decay: float
    momentum: float

    @property
    def label(self) -> str:
        words = [self.optimizer]
        words += [f"lr{self.multiple!r}x"] if self.multiple != 1 else []
        words += [f"wd{self.weight_decay!r}"] if self.weight_decay else []
        words += [f"m{self.momentum!r}"] if self.momentum else []
        return "_".join(words)

    @property
    def slots(self) -> tuple[str, ...]:
        return () if self.optimizer == "sgd" and not self.momentum else _SLOTS[self.optimizer]


class GroupedOptimizer:
    """Keras optimizers over disjoint groups of variables, used as one.

    Create it under the strategy's scope. All slots exist from the start, so a checkpoint restores before the
    first step.

    Args:
        variables: all variables by name, those of frozen layers included so that patterns may name them; the
            ones that are not trainable are left alone, and frozen groups say nothing here.
        groups: ordered; the first whose pattern matches the whole name of a variable decides.
        defaults: for what no group says.
        name: first part of the names in `variables`; a method of several phases has an optimizer for each.
        unused: patterns of variables that may have no gradient.
        known: further names that a group may match, such as those of other phases.

    Raises:
        UserError: a pattern matches nothing, an unknown optimizer, or nothing is left to train.
    """

    def __init__(
        self,
        variables: Mapping[str, keras.Variable],
        groups: Sequence[Group] = (),
        defaults: Defaults = Defaults(),
        *,
        name: str = "optimizer",
        unused: Sequence[str] = (),
        known: Collection[str] = (),
    ):
        check_patterns((group.pattern for group in groups), {*variables, *known})
        if defaults.optimizer not in OPTIMIZERS:
            choices = ", ".join(OPTIMIZERS)
            raise UserError(f"There is no optimizer {defaults.optimizer!r}; choose one of {choices}.")
        self.name, self._defaults = name, defaults
        self._groups, self._unused = tuple(groups), tuple(unused)
        self._names: dict[_Setting, list[str]] = {}
        for path, variable in variables.items():
            setting = self._setting(path, variable)
            if setting is not None:
                self._names.setdefault(setting, []).append(path)
        if not self._names:
            raise UserError("Every variable is frozen, so there is nothing to train; freeze fewer of them.")
        self._trainable = {path: variables[path] for paths in self._names.values() for path in paths}
        self._optimizers = {setting: self._build(setting) for setting in sorted(self._names)}
        self.set_rate(defaults.learning_rate)

    def _setting(self, name: str, variable: keras.Variable) -> _Setting | None:
        defaults = self._defaults
        if not variable.trainable:
            return None
        group = group_of(name, self._groups)
        kind = "sgd" if (group.optimizer or defaults.optimizer) == "sgd" else "adam"
        decay = defaults.weight_decay if group.weight_decay is None else group.weight_decay
        momentum = defaults.momentum if group.momentum is None else group.momentum
        multiple = group.multiple
        if group.learning_rate is not None:
            multiple = group.learning_rate / defaults.learning_rate
        return _Setting(
            kind,
            float(multiple),
            float(decay) if decays(name, variable) else 0.0,
            float(momentum) if kind == "sgd" else 0.0,
        )

    def _build(self, setting: _Setting) -> keras.optimizers.Optimizer:
        common: dict[str, Any] = {"learning_rate": 0.0, "weight_decay": setting.weight_decay or None}
        if setting.optimizer == "sgd":
            optimizer = keras.optimizers.SGD(momentum=setting.momentum, **common)
        else:
            d = self._defaults
            optimizer = FusedAdam(beta_1=d.beta_1, beta_2=d.beta_2, epsilon=d.epsilon, **common)
        optimizer.build([self._trainable[name] for name in self._names[setting]])
        return optimizer

    @property
    def trainable(self) -> dict[str, keras.Variable]:
        """The variables that this optimizer updates, by name."""
        return dict(self._trainable)

    @property
    def trainable_names(self) -> list[str]:
        """Names of the variables that this optimizer updates."""
        return list(self._trainable)

    @property
    def variables(self) -> dict[str, keras.Variable]:
        """Slots and step counters by names that are the same in every process, for the checkpoint.

        The rates are not among them: `set_rate` is called before each step.
        """
        named: dict[str, keras.Variable] = {}
        for setting, optimizer in self._optimizers.items():
            named[f"{self.name}/{setting.label}/iteration"] = optimizer.iterations
            names = [f"{self.name}/{name}/{slot}" for name in self._names[setting] for slot in setting.slots]
            # Keras keeps the counter, the rate, then the slots of each variable side by side.
            named.update(zip(names, optimizer.variables[2:], strict=True))
        return named

    def set_rate(self, rate: float) -> None:
        """Sets the rate of the run; each group takes its multiple. Call it outside the replicas' context."""
        for setting, optimizer in self._optimizers.items():
            optimizer.learning_rate.assign(rate * setting.multiple)

    def rates(self) -> dict[str, float]:
        """The present rate of each group of equal settings, for logs."""
        rates: dict[str, float] = {}
        for setting, optimizer in self._optimizers.items():
            label = dataclasses.replace(setting, weight_decay=0.0, momentum=0.0).label
            rates[label] = float(optimizer.learning_rate.numpy())
        return rates

    def check(self, gradients: Mapping[str, Any]) -> dict[str, tf.Tensor]:
        """The gradients that exist, as dense tensors.

        Dense, because Keras' Adam squares the slices of an embedding's gradient before it adds those of a row
        that was looked up twice.

        Raises:
            UserError: a variable that is not declared unused has no gradient.
        """
        missing = [name for name, gradient in gradients.items() if gradient is None]
        undeclared = [name for name in missing if not any(re.fullmatch(p, name) for p in self._unused)]
        if undeclared:
            raise UserError(
                f"The loss does not depend on {len(undeclared)} of the variables to be trained, such as "
                f"{', '.join(undeclared[:3])}; freeze them with --group."
            )
        return {name: tf.convert_to_tensor(value) for name, value in gradients.items() if value is not None}

    def apply(self, gradients: Mapping[str, Any]) -> None:
        """Updates the variables; in a replica's context the gradients are summed over the replicas first.

        Args:
            gradients: gradient of each variable that is to be updated, of its shape, by name; all of
                `trainable_names`, or those of a phase.

        Raises:
            UserError: a variable that is not declared unused has None for a gradient.
            KeyError: a name is not among `trainable_names`.
        """
        if unknown := set(gradients) - set(self._trainable):
            raise KeyError(f"These variables are not trained by this optimizer: {sorted(unknown)[:3]}")
        dense = self.check(gradients)
        for setting, optimizer in self._optimizers.items():
            names = [name for name in self._names[setting] if name in dense]
            if names:
                optimizer.apply([dense[name] for name in names], [self._trainable[name] for name in names])


def decays(name: str, variable: Any) -> bool:
    """Whether weight decay acts on a variable: a matrix or kernel, not a bias, gamma or beta."""
    return len(variable.shape) > 1 and name.rpartition("/")[2] not in {"bias", "gamma", "beta"}
