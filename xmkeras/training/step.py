"""One training step: embed, gather the global batch, losses, gradients, update."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from xmkeras.method import Batch, Method, Phase
from xmkeras.training import strategy as replicas
from xmkeras.training.ema import MovingAverage
from xmkeras.training.optimizers import GroupedOptimizer

_GLOBAL_KEYS = ("label", "image_id", "row")


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
        """Adapts the scale to whether the last gradients were finite; called outside of `strategy.run`."""
        count = tf.where(finite, self.finite_steps + 1, 0)
        grow = count >= self._patience
        factor = tf.where(finite, tf.where(grow, 2.0, 1.0), 0.5)
        self.scale.assign(tf.clip_by_value(self.scale * factor, 1.0, 2.0**24))
        self.finite_steps.assign(tf.where(grow, tf.zeros_like(count), count))


class TrainStep:
    """Compiled training steps of one method.

    Losses see the batch of all replicas. Keras optimizers sum gradients over replicas while every replica computes
    the loss of the whole batch, so each replica's loss is divided by their number.

    Args:
        method: what is trained.
        optimizers: one a phase, by the phase's name.
        strategy: the devices.
        clip_norm: the gradient over all variables of a phase is scaled down to this norm; 0 is off.
        average: moving average of the weights, updated after every step.
        loss_scale: only for float16.
        jit_images: compile the image tower with XLA.
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
        jit_images: bool = False,
    ):
        self._method = method
        self._optimizers = optimizers
        self._strategy = strategy
        self._clip_norm = clip_norm
        self._average = average
        self._loss_scale = loss_scale
        self._embed_images = method.embed_images
        if jit_images:
            self._embed_images = tf.function(method.embed_images, jit_compile=True)
        self._phases = method.phases()
        self._compiled: dict[tuple[str, ...], Any] = {}

    def __call__(self, batch: Batch, step: int) -> dict[str, tf.Tensor]:
        """Updates the variables with one global batch and returns what the monitor shows.

        Returns:
            Scalars: each loss term, `loss` (their sum over the phases), `gradient_norm`, the gauges of the method,
            `image_norm` and `text_norm` (mean length of the embeddings); and `finite_rows`, (B,) bool, whether the
            embeddings of a row are finite.
        """
        active = tuple(phase for phase in self._phases if step % phase.every == 0)
        key = tuple(phase.name for phase in active)
        if key not in self._compiled:
            self._compiled[key] = tf.function(
                lambda batch: self._step(batch, active), reduce_retracing=True, autograph=False
            )
        return self._compiled[key](batch)

    def _step(self, batch: Batch, phases: tuple[Phase, ...]) -> dict[str, tf.Tensor]:
        per_replica = self._strategy.run(self._replica_step, args=(batch, phases))
        # Every replica holds the same numbers: they are made of gathered or reduced tensors.
        results = {name: self._strategy.experimental_local_results(v)[0] for name, v in per_replica.items()}
        if self._loss_scale is not None:
            self._loss_scale.update(tf.math.is_finite(results["gradient_norm"]))
        if self._average is not None:
            self._average.update()
        return results

    def _replica_step(self, batch: Batch, phases: tuple[Phase, ...]) -> dict[str, tf.Tensor]:
        heads = tuple(phase for phase in phases if phase.detached)
        towers = tuple(phase for phase in phases if not phase.detached) or heads[-1:]
        results: dict[str, tf.Tensor] = {}
        totals: list[tf.Tensor] = []
        norms: list[tf.Tensor] = []
        for number, phase in enumerate(towers):
            before = tuple(head for head in heads if head is not phase) if number == 0 else ()
            outputs, whole = self._update(batch, phase, before, results, totals, norms)
        results["loss"] = tf.add_n(totals)
        results["gradient_norm"] = tf.linalg.global_norm(norms)
        gauges = self._method.gauges(outputs, whole)
        results.update({name: tf.cast(value, tf.float32) for name, value in gauges.items()})
        rows_finite = []
        for side in ("image", "text"):
            results[f"{side}_norm"] = tf.reduce_mean(tf.norm(outputs[side], axis=-1))
            rows_finite.append(tf.reduce_all(tf.math.is_finite(outputs[side]), axis=-1))
        results["finite_rows"] = tf.logical_and(*rows_finite)
        return results

    def _update(
        self,
        batch: Batch,
        phase: Phase,
        before: tuple[Phase, ...],
        results: dict[str, tf.Tensor],
        totals: list[tf.Tensor],
        norms: list[tf.Tensor],
    ) -> tuple[dict[str, tf.Tensor], dict[str, tf.Tensor]]:
        """Embeds the batch, then runs the detached phases `before` and `phase`; returns embeddings and batch, gathered.

        Adds loss terms to `results`, and their sum and the gradient's norm of each phase to `totals` and `norms`.
        """
        with tf.GradientTape() as tape:
            outputs = self._method.outputs(batch, training=True, embed_images=self._embed_images)
            outputs = replicas.gather(outputs)
            whole = replicas.gather({name: batch[name] for name in _GLOBAL_KEYS})
        for one, own in (*((head, tf.GradientTape()) for head in before), (phase, tape)):
            losses, norm = self._minimise(one, own, outputs, whole)
            results.update(losses)
            totals.append(tf.add_n(list(losses.values())))
            norms.append(norm)
        return outputs, whole

    def _minimise(
        self, phase: Phase, tape: tf.GradientTape, outputs: dict[str, tf.Tensor], whole: dict[str, tf.Tensor]
    ) -> tuple[dict[str, tf.Tensor], tf.Tensor]:
        """One update of a phase's variables; the losses and the norm of their gradient."""
        optimizer = self._optimizers[phase.name]
        with tape:
            losses = {name: tf.cast(value, tf.float32) for name, value in phase.losses(outputs, whole).items()}
            total = tf.add_n(list(losses.values())) / replicas.replicas_in_context()
            if self._loss_scale is not None:
                total *= self._loss_scale.scale
        gradients = tape.gradient(total, {name: variable.value for name, variable in optimizer.trainable.items()})
        gradients, norm = self._normalise(optimizer.check(gradients))
        optimizer.apply(gradients)
        return losses, norm

    def _normalise(self, gradients: dict[str, tf.Tensor]) -> tuple[dict[str, tf.Tensor], tf.Tensor]:
        """Unscales and clips by the norm of the whole batch's gradient, of which each replica holds a share."""
        names, values = list(gradients), [tf.convert_to_tensor(value) for value in gradients.values()]
        if self._loss_scale is not None:
            values = [value / self._loss_scale.scale for value in values]
        sums = replicas.sum_over_replicas(values)
        norm = tf.linalg.global_norm(sums)
        if self._loss_scale is not None:
            # A float16 overflow costs its own step only; in every other type a NaN has to stop the run.
            values = [tf.where(tf.math.is_finite(norm), value, tf.zeros_like(value)) for value in values]
        if self._clip_norm:
            values = [value * tf.minimum(1.0, self._clip_norm / tf.maximum(norm, 1e-12)) for value in values]
        return dict(zip(names, values, strict=True)), norm
