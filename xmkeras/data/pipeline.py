"""What the pipelines of images and captions share: their columns of text, their decoder, their options."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from xmkeras.data import images
from xmkeras.data.token_vectors import TokenVectors

Batch = dict[str, tf.Tensor]
Tokenize = Callable[[Any], tf.Tensor]

# Python functions here are pure, and declared so: under `enable_op_determinism` one stateful op anywhere in a
# pipeline (a Python function, a table lookup) makes tf.data drop all of its parallelism and prefetching.
pure_python = functools.partial(tf.numpy_function, stateful=False)
in_graph = tf.autograph.experimental.do_not_convert  # plain tensor code: nothing for AutoGraph to convert


def columns_in_graph(
    plan: Callable[[np.ndarray], list[np.ndarray]],
    number: tf.Tensor,
    types: Mapping[str, tf.DType],
    shapes: Mapping[str, tuple[int | None, ...]],
    size: int | None,
) -> Batch:
    """The columns that the pure Python function `plan` makes of a number, in graph, with their static shapes.

    Args:
        plan: makes the columns in the order of `types`.
        number: what it is called with, of a step or of a first row.
        types: of the columns.
        shapes: of an entry of those columns that have one beside ().
        size: entries of each column, where it is always the same.
    """
    columns = dict(zip(types, pure_python(plan, [number], list(types.values())), strict=True))
    for name, column in columns.items():
        column.set_shape((size, *shapes.get(name, ())))
    return columns


def text_types(tokens: TokenVectors | None) -> dict[str, tf.DType]:
    """Types of the columns of a batch of captions, which are token vectors where `tokens` stand for them."""
    return {"text": tf.string} if tokens is None else {"text_tokens": tf.float32, "text_mask": tf.bool}


def text_shapes(tokens: TokenVectors | None) -> dict[str, tuple[int | None, ...]]:
    """Shapes of an entry of those columns that have one beside ()."""
    return {} if tokens is None else {"text_tokens": (None, tokens.width), "text_mask": (None,)}


def text_columns(texts: Sequence[str], tokens: TokenVectors | None) -> dict[str, np.ndarray]:
    """The columns of a batch of captions."""
    if tokens is None:
        return {"text": np.array([text.encode() for text in texts], object)}
    return dict(zip(("text_tokens", "text_mask"), tokens.batch(texts), strict=True))


@functools.lru_cache(maxsize=16)
def loader(size: images.Size, augmentation: images.Augmentation) -> Callable[[tf.Tensor, tf.Tensor], tf.Tensor]:
    """`images.load_augmented` of (data, seed), traced once however often a pipeline is made anew."""
    signature = [tf.TensorSpec((), tf.string), tf.TensorSpec((2,), tf.int64)]

    @functools.partial(tf.function, input_signature=signature, autograph=False)
    def load(data: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        return images.load_augmented(data, size, augmentation, seed)

    return load


def options() -> tf.data.Options:
    """In order, and not sharded over replicas, of which each takes its part of the batch."""
    chosen = tf.data.Options()
    chosen.deterministic = True
    chosen.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
    return chosen
