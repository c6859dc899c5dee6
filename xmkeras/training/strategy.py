"""All that knows tf.distribute: which devices a run uses and how replicas see the global batch."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any

import tensorflow as tf
from absl import logging

from xmkeras.errors import UserError


def make_strategy(devices: str = "auto") -> tf.distribute.Strategy:
    """The strategy for `--devices`.

    Args:
        devices: `auto` (all visible GPUs, else the CPU), a number of GPUs, `cpu`, or `cpu:N` for N logical devices
            on one CPU.

    Raises:
        UserError: more devices are asked for than exist, the value is none of the above, or TF_CONFIG names several
            workers.
    """
    _refuse_several_workers()
    kind, _, count = devices.partition(":")
    if kind == "cpu":
        return _logical_cpus(_positive(count, devices) if count or devices != "cpu" else 1)
    gpus = tf.config.list_physical_devices("GPU")
    for gpu in gpus:
        tf.config.experimental.set_memory_growth(gpu, True)
    wanted = len(gpus) if devices == "auto" else _positive(devices, devices)
    if wanted > len(gpus):
        raise UserError(
            f"--devices={devices} asks for {wanted} GPUs but TensorFlow sees {len(gpus)}; "
            "use --devices=auto, or --devices=cpu."
        )
    if wanted <= 1:
        return tf.distribute.OneDeviceStrategy("/gpu:0") if wanted else tf.distribute.get_strategy()
    return tf.distribute.MirroredStrategy([f"/gpu:{number}" for number in range(wanted)])


def _refuse_several_workers() -> None:
    try:
        cluster = json.loads(os.environ.get("TF_CONFIG") or "{}").get("cluster") or {}
    except (ValueError, AttributeError):
        raise UserError("The environment variable TF_CONFIG is no JSON object; unset it.") from None
    if sum(len(tasks) for tasks in cluster.values()) > 1:
        raise UserError(
            "TF_CONFIG names a cluster of several workers, which cannot train together yet; unset it and use the GPUs "
            "of one machine, as --devices=auto does."
        )


def set_threads(intra_op_threads: int) -> None:
    """Lets one operation use so many threads; 0 leaves that to TensorFlow. To be called before anything is computed."""
    if not intra_op_threads or tf.config.threading.get_intra_op_parallelism_threads() == intra_op_threads:
        return
    try:
        tf.config.threading.set_intra_op_parallelism_threads(intra_op_threads)
    except RuntimeError:
        logging.warning("TensorFlow runs already in this process: --intra_op_threads changes nothing.")


def _positive(text: str, devices: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise UserError(f"--devices={devices} is none of: auto, a number of GPUs, cpu, cpu:N.")
    return int(text)


def _logical_cpus(count: int) -> tf.distribute.Strategy:
    """Mirrors over `count` logical devices of one CPU: slow, but exactly what several GPUs compute."""
    if count == 1:
        return tf.distribute.get_strategy()
    cpu = tf.config.list_physical_devices("CPU")[0]
    try:
        tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * count)
    except RuntimeError as error:
        raise UserError(f"--devices=cpu:{count} must be the first thing a process does with TensorFlow.") from error
    return tf.distribute.MirroredStrategy([f"/cpu:{number}" for number in range(count)])


def is_gpu(strategy: tf.distribute.Strategy) -> bool:
    """Whether the replicas compute on GPUs."""
    if strategy is tf.distribute.get_strategy():  # the default one, which names no devices
        return False
    return any("GPU" in device.upper() for device in strategy.extended.worker_devices)


def replicas_in_context() -> int:
    """Number of replicas, called inside `strategy.run`."""
    return tf.distribute.get_replica_context().num_replicas_in_sync


def first(strategy: tf.distribute.Strategy, value: Any) -> tf.Tensor:
    """The first replica's of what `strategy.run` gives back."""
    return strategy.experimental_local_results(value)[0]


def gather(values: dict[str, Any]) -> dict[str, Any]:
    """Concatenates each (b, ...) tensor over the replicas to (B, ...); gradients flow back to their replica."""
    context = tf.distribute.get_replica_context()
    if context.num_replicas_in_sync == 1:
        return dict(values)
    return {name: _gather(context, value) for name, value in values.items()}


def _gather(context: Any, value: Any) -> tf.Tensor:
    if value.dtype != tf.bool:
        return _dense_gradient(context.all_gather(value, axis=0))
    # Masks travel as numbers: all_gather knows no bool.
    return tf.cast(context.all_gather(tf.cast(value, tf.int32), axis=0), tf.bool)


@tf.custom_gradient
def _dense_gradient(value: tf.Tensor) -> Any:
    """`value`; rows that a loss looks up leave a sparse gradient, which all_gather does not take."""
    return tf.identity(value), tf.convert_to_tensor


def run_if(condition: tf.Tensor, update: Callable[[Any], None], values: Any) -> None:
    """Calls `update(values)` in each replica if `condition`, the same in all, holds; called inside `strategy.run`.

    An update of mirrored variables cannot stand in a branch inside one replica: the replicas meet in it. So they meet
    before the branch.
    """

    def branch(strategy: tf.distribute.Strategy, condition: Any, values: Any) -> None:
        def updated() -> None:
            strategy.run(update, args=(values,))

        tf.cond(first(strategy, condition), updated, lambda: None)

    tf.distribute.get_replica_context().merge_call(branch, args=(condition, values))


def sum_over_replicas(tensors: list[tf.Tensor]) -> list[tf.Tensor]:
    """The all-reduced sums of `tensors`, called inside `strategy.run`."""
    context = tf.distribute.get_replica_context()
    if context.num_replicas_in_sync == 1:
        return tensors
    return context.all_reduce(tf.distribute.ReduceOp.SUM, tensors)
