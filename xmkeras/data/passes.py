"""One pass over what one side of a table holds, in order."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from xmkeras.data import pipeline
from xmkeras.data.readers import Items, Reader


def one_pass(
    reader: Reader, items: Items, *, batch_size: int, order: np.ndarray | None = None
) -> tf.data.Dataset:
    """Every item once, in order; broken ones are left out.

    Args:
        reader: of the side.
        items: what to read.
        batch_size: items in a batch.
        order: numbers of items in another order.

    Returns:
        Dataset of dicts: what the reader gives, and `item` int64 (b,), the number of each item in `items`. The last
        batch is what is left.
    """
    numbers = np.arange(len(items)) if order is None else order
    numbers = numbers[reader.present(items)[numbers]]
    columns = (numbers, items.rows[numbers], items.captions[numbers])

    @pipeline.in_graph
    def read(item: tf.Tensor, row: tf.Tensor, caption: tf.Tensor) -> pipeline.Entries:
        return {**reader.read(row, caption, item), "item": item}

    dataset = tf.data.Dataset.from_tensor_slices(columns)
    if reader.per_example:
        dataset = dataset.map(read, num_parallel_calls=tf.data.AUTOTUNE).ignore_errors().batch(batch_size)
    else:
        dataset = dataset.batch(batch_size).map(read)
    return dataset.prefetch(2).with_options(pipeline.options())
