"""Batches of feature pairs: all vectors lie in memory, and a graph gathers them by index."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from xmkeras.data import pipeline
from xmkeras.data.rows import RowTable
from xmkeras.data.sampling import PairSampler

_FOREVER = np.iinfo(np.int64).max


class FeatureBatches:
    """The batches of a training run over feature pairs: a batch is a function of the seed and the step.

    Only the order of an epoch is computed in Python, once an epoch; the rest is gathered inside the pipeline, since
    a Python call a step costs as much as the matrix products of a small net.

    Args:
        table: the training split, with text vectors.
        sampler: the order of its pairs.

    Attributes:
        bad_rows: always empty, since a table of vectors has been checked; kept for the loop.
    """

    def __init__(self, table: RowTable, sampler: PairSampler):
        if table.features is None or table.text_features is None:
            raise ValueError(f"the data set {table.name} has no pairs of feature vectors")
        self._columns = feature_columns(table)
        self._sampler = sampler
        self.bad_rows: list[int] = []

    def dataset(self, start_step: int) -> tf.data.Dataset:
        """Endless batches from `start_step` on.

        Returns:
            Dataset of dicts: `image_features` float32 (B, f), `text_features` float32 (B, t); `label`, `image_id`
            (number of the distinct image) and `row` int64 (B,).
        """
        steps = self._sampler.steps_per_epoch
        epoch, done = divmod(start_step, steps)

        def plan(number: np.ndarray) -> np.ndarray:
            first = int(number) * steps
            return np.stack([self._sampler.batch(step)[0] for step in range(first, first + steps)])

        @pipeline.in_graph
        def rows_of(number: tf.Tensor) -> tf.Tensor:
            rows = pipeline.pure_python(plan, [number], tf.int64)
            return tf.ensure_shape(rows, (steps, self._sampler.batch_size))

        dataset = tf.data.Dataset.range(epoch, _FOREVER).map(rows_of)
        dataset = dataset.unbatch().skip(done)
        return dataset.map(_gatherer(self._columns)).prefetch(8).with_options(pipeline.options())

    def iterate(
        self, start_step: int, distribute: Callable[[tf.data.Dataset], Any] = lambda dataset: dataset
    ) -> Iterator[Any]:
        """The batches from `start_step` on; `distribute` turns the dataset into what is iterated over."""
        return iter(distribute(self.dataset(start_step)))


def image_feature_batches(table: RowTable, batch_size: int) -> tf.data.Dataset:
    """Every distinct image of a table once, in the order of its first row.

    Returns:
        Dataset of dicts as of `FeatureBatches`; the last batch is what is left.
    """
    return _in_order(table, table.distinct_images(), batch_size)


def text_feature_batches(table: RowTable, batch_size: int) -> tf.data.Dataset:
    """Every row of a table once, in order: dicts as of `FeatureBatches`; the last batch is what is left."""
    return _in_order(table, np.arange(len(table)), batch_size)


def feature_columns(table: RowTable) -> dict[str, np.ndarray]:
    """The columns of a batch for all rows of a table, in order."""
    assert table.features is not None
    assert table.text_features is not None
    return {
        "image_features": table.features[table.image_index],
        "text_features": table.text_features,
        "label": table.labels,
        "image_id": table.image_index,
    }


def _in_order(table: RowTable, rows: np.ndarray, batch_size: int) -> tf.data.Dataset:
    dataset = tf.data.Dataset.from_tensor_slices(rows.astype(np.int64)).batch(batch_size)
    return dataset.map(_gatherer(feature_columns(table))).with_options(pipeline.options())


def _gatherer(columns: dict[str, np.ndarray]) -> Callable[[tf.Tensor], pipeline.Batch]:
    with tf.init_scope():
        constants = {name: tf.constant(column) for name, column in columns.items()}

    @pipeline.in_graph
    def gather(rows: tf.Tensor) -> pipeline.Batch:
        return {**{name: tf.gather(column, rows) for name, column in constants.items()}, "row": rows}

    return gather
