"""One training step: embed, gather the global batch, losses, gradients, update unless one is not finite."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from xmkeras.method import Batch, Encode, Method, Phase
from xmkeras.training import strategy as replicas
from xmkeras.training.ema import MovingAverage
from xmkeras.training.loss_scale import LossScale
from xmkeras.training.mini_batches import encode_in_mini_batches
from xmkeras.training.optimizers import GroupedOptimizer

_GLOBAL_KEYS = ("label", "image_id", "row")

Tensors = dict[str, tf.Tensor]


class TrainStep:
    """Compiled training steps of one method.

    Losses see the batch of all replicas. Keras optimizers sum gradients over replicas while every replica computes
    the loss of the whole batch, so each replica's loss is divided by their number.

    A step that is not finite ends a run before anything of it is saved (`FiniteCheck`), but in float16, where the run
    goes on. With a loss scale, and with clipping, for which the update waits for the whole gradient anyway, a phase
    whose loss or gradient is not finite updates nothing: no weight, slot or counter. In a step with such a phase, all
    that a forward pass writes (statistics of batch norm, random states, means) is put back and the moving average
    stays; phases of the step that were finite keep their update. Of a method of one phase, such a step leaves every
    variable as it was, but for the loss scale.

    Args:
        method: what is trained.
        optimizers: one a phase, by the phase's name.
        strategy: the devices.
        clip_norm: the gradient over all variables of a phase is scaled down to this norm; 0 is off.
        average: moving average of the weights, updated after every step.
        loss_scale: only for float16.
        jit: compile each side whose entries have one shape in all rows with XLA.
        mini_batch_size: rows of a replica that are embedded at a time, see `encode_in_mini_batches`; 0: all.

    Raises:
        UserError: mini-batches of towers with batch norm on several replicas.
    """

    def __init__(
        self,
        method: Method,
        optimizers: Mapping[str, GroupedOptimizer],
        strategy: tf.distribute.Strategy,
        *,
        clip_norm: float = 0.0,
        average: MovingAverage | None = None,
        loss_scale: LossScale | None = None,
        jit: bool = False,
        mini_batch_size: int = 0,
    ):
        self._method = method
        self._optimizers = optimizers
        self._strategy = strategy
        self._clip_norm = clip_norm
        self._average = average
        self._loss_scale = loss_scale
        self._guarded = loss_scale is not None or clip_norm > 0
        self._encode = _compiled_encode(method) if jit else None
        if mini_batch_size:
            replicated = strategy.num_replicas_in_sync > 1
            self._encode = encode_in_mini_batches(method, mini_batch_size, self._encode, replicated)
        self._phases = method.phases()
        self._compiled: dict[tuple[str, ...], Any] = {}
        self._gradients: dict[tuple[str, ...], list[str]] = {}
        trained = {name for optimizer in optimizers.values() for name in optimizer.trainable}
        named = method.named_variables()
        self._untrained = [variable.value for name, variable in named.items() if name not in trained]

    def __call__(self, batch: Batch, step: int) -> Tensors:
        """Updates the variables with one global batch and returns what the monitor shows.

        Returns:
            Scalars: each loss term, `loss` (their sum over the phases), `gradient_norm`, the gauges of the method,
            `<side>_norm` of each side (mean length of the embeddings), and `scale/loss`, the loss scale, if there is
            one. Beside them `finite_rows`, (B,) bool, whether all outputs of a row are finite, and `finite_gradients`,
            bool, one for each of `gradient_names`.
        """
        phases = self._active(step)
        key = tuple(phase.name for phase in phases)
        if key not in self._compiled:
            step_of = functools.partial(self._step, phases=phases)
            self._compiled[key] = tf.function(step_of, reduce_retracing=True, autograph=False)
        return self._compiled[key](batch)

    def gradient_names(self, step: int) -> list[str]:
        """The variables whose gradients a step that was taken has computed."""
        return self._gradients[tuple(phase.name for phase in self._active(step))]

    def _active(self, step: int) -> tuple[Phase, ...]:
        return tuple(phase for phase in self._phases if step % phase.every == 0)

    def _step(self, batch: Batch, phases: tuple[Phase, ...]) -> Tensors:
        # Reading takes no copy: what is not written in this step, such as frozen weights, costs nothing here.
        before = [tf.identity(variable) for variable in self._untrained] if self._guarded else []
        per_replica = self._strategy.run(self._replica_step, args=(batch, phases))
        # Every replica holds the same numbers: they are made of gathered or reduced tensors.
        results = {name: replicas.first(self._strategy, value) for name, value in per_replica.items()}
        update = self._average.update if self._average is not None else lambda: None
        finite = tf.reduce_all(tf.math.is_finite([results["loss"], results["gradient_norm"]]))
        if self._guarded:
            tf.cond(finite, update, lambda: self._put_back(before))
        else:
            update()
        if self._loss_scale is not None:
            results["scale/loss"] = tf.identity(self._loss_scale.scale)
            self._loss_scale.update(finite)
        return results

    def _put_back(self, values: list[tf.Tensor]) -> None:
        for variable, value in zip(self._untrained, values, strict=True):
            variable.assign(value)

    def _replica_step(self, batch: Batch, phases: tuple[Phase, ...]) -> Tensors:
        heads = tuple(phase for phase in phases if phase.detached)
        towers = tuple(phase for phase in phases if not phase.detached) or heads[-1:]
        terms: list[Tensors] = []
        squares: list[tuple[str, tf.Tensor]] = []
        for number, phase in enumerate(towers):
            with tf.GradientTape() as tape:
                outputs, whole = self._embed(batch)
            before = tuple(head for head in heads if head is not phase) if number == 0 else ()
            for one, own in (*((head, tf.GradientTape()) for head in before), (phase, tape)):
                losses, of_gradient = self._minimise(one, own, outputs, whole)
                terms.append(losses)
                squares += of_gradient.items()
        self._gradients[tuple(phase.name for phase in phases)] = [name for name, _ in squares]
        halves = tf.stack([half for _, half in squares])
        gauges = self._method.gauges(outputs, whole)
        return {
            **{name: value for losses in terms for name, value in losses.items()},
            "loss": tf.add_n([value for losses in terms for value in losses.values()]),
            "gradient_norm": tf.sqrt(2.0 * tf.reduce_sum(halves)),
            "finite_gradients": tf.math.is_finite(halves),
            **{name: tf.cast(value, tf.float32) for name, value in gauges.items()},
            **{f"{side}_norm": _mean_length(outputs, side) for side in self._method.towers.sides},
            "finite_rows": _finite_rows(outputs),
        }

    def _embed(self, batch: Batch) -> tuple[Tensors, Tensors]:
        """The outputs of all replicas, and what losses may need of their batch."""
        outputs = self._method.outputs(batch, training=True, encode=self._encode)
        needed = (*_GLOBAL_KEYS, *self._method.gathered)
        return replicas.gather(outputs), replicas.gather({name: batch[name] for name in needed})

    def _minimise(
        self, phase: Phase, tape: tf.GradientTape, outputs: Tensors, whole: Tensors
    ) -> tuple[Tensors, Tensors]:
        """One update of a phase's variables; the losses, and half the square of each gradient's length."""
        optimizer = self._optimizers[phase.name]
        with tape:
            losses = {name: tf.cast(value, tf.float32) for name, value in phase.losses(outputs, whole).items()}
            total = tf.add_n(list(losses.values())) / replicas.replicas_in_context()
            scaled = total if self._loss_scale is None else total * self._loss_scale.scale
        found = tape.gradient(scaled, {name: variable.value for name, variable in optimizer.trainable.items()})
        gradients = optimizer.check(found)
        if self._loss_scale is not None:
            gradients = {name: gradient / self._loss_scale.scale for name, gradient in gradients.items()}
        # Of the whole batch's gradient each replica holds a share.
        sums = replicas.sum_over_replicas(list(gradients.values()))
        halves = [tf.nn.l2_loss(gradient) for gradient in sums]
        norm = tf.sqrt(2.0 * tf.add_n(halves))
        if self._clip_norm:
            share = tf.minimum(1.0, self._clip_norm / tf.maximum(norm, 1e-12))
            gradients = {name: gradient * share for name, gradient in gradients.items()}
        if self._guarded:
            finite = tf.reduce_all(tf.math.is_finite([total, norm]))
            replicas.run_if(finite, optimizer.apply, gradients)
        else:
            optimizer.apply(gradients)
        return losses, dict(zip(gradients, halves, strict=True))


def _compiled_encode(method: Method) -> Encode:
    """`Towers.encode` with XLA for the sides whose entries have one shape in all rows.

    XLA compiles anew for each shape: a side of sentences would be compiled for each length, and a function of the
    whole batch takes the pictures with it.
    """
    sides = method.towers.sides
    compiled = {
        side: tf.function(functools.partial(method.towers.encode, side), jit_compile=True, autograph=False)
        for side in sides
    }

    def encode(side: str, batch: Batch, training: bool) -> Mapping[str, tf.Tensor]:
        entries = sides[side].entries(batch)
        # What a cached front has cut a part at is no part's own input, and is not compiled.
        part = next((part for part in sides[side].parts if part.takes == tuple(entries)), None)
        fixed = part is not None and all(None not in entry.shape[1:] for entry in part.model.inputs)
        return compiled[side](entries, training) if fixed else method.towers.encode(side, entries, training)

    return encode


def _mean_length(outputs: Tensors, side: str) -> tf.Tensor:
    """Mean length of a side's embeddings, of many vectors an item over those that are there."""
    lengths = tf.norm(outputs[side], axis=-1)
    there = outputs.get(f"{side}/mask", tf.ones_like(lengths, tf.bool))
    count = tf.reduce_sum(tf.cast(there, tf.float32))
    return tf.math.divide_no_nan(tf.reduce_sum(tf.where(there, lengths, 0.0)), count)


def _finite_rows(outputs: Tensors) -> tf.Tensor:
    """Whether all numbers of a row's outputs are finite, (B,)."""
    flat = [tf.reshape(value, (tf.shape(value)[0], -1)) for value in outputs.values() if value.dtype.is_floating]
    return tf.reduce_all([tf.reduce_all(tf.math.is_finite(value), axis=1) for value in flat], axis=0)
