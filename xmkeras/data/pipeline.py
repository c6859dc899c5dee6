"""What the pipelines of training and of passes over a table share: calls of Python, the decoder, options."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable

import tensorflow as tf

from xmkeras.data import images

Entries = dict[str, tf.Tensor]

# Python functions here are pure, and declared so: under `enable_op_determinism` one stateful op anywhere in a
# pipeline (a Python function, a table lookup) makes tf.data drop all of its parallelism and prefetching.
pure_python = functools.partial(tf.numpy_function, stateful=False)
in_graph = tf.autograph.experimental.do_not_convert  # plain tensor code: nothing for AutoGraph to convert


@functools.lru_cache(maxsize=16)
def loader(size: images.Size, augmentation: images.Augmentation) -> Callable[[tf.Tensor, tf.Tensor], tf.Tensor]:
    """`images.load_augmented` of (data, seed), traced once however often a pipeline is made anew."""
    signature = [tf.TensorSpec((), tf.string), tf.TensorSpec((2,), tf.int64)]

    @functools.partial(tf.function, input_signature=signature, autograph=False)
    def load(data: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        return images.load_augmented(data, size, augmentation, seed)

    return load


def fault_of(message: str) -> str:
    """What went wrong, out of a TensorFlow message: the last line before the names of graph nodes."""
    lines = message.split("[[")[0].split("[Op:")[0].strip().splitlines() or ["unreadable"]
    last = re.sub(r"\{\{.*?\}\}", "", lines[-1]).strip()
    return re.sub(r"^assertion failed: \[(.*)\]$", r"\1", last).rstrip(".")


def options() -> tf.data.Options:
    """In order, and not sharded over replicas, of which each takes its part of the batch."""
    chosen = tf.data.Options()
    chosen.deterministic = True
    chosen.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
    return chosen
