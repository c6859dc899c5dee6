"""Rows to batches of training: seeded, resumable, past broken inputs."""

from __future__ import annotations

import atexit
import contextlib
import gc
import weakref
from collections.abc import Callable, Generator, Iterator, Mapping
from typing import Any

import numpy as np
import tensorflow as tf
from absl import logging

from xmkeras.data import pipeline
from xmkeras.data.readers import Reader, outside_graph
from xmkeras.data.rows import RowTable
from xmkeras.data.sampling import Sampler
from xmkeras.errors import UserError

_FOREVER = np.iinfo(np.int64).max
_PLANNED = ("row", "caption", "position")
_AHEAD = 4  # batches that are made before they are asked for
_running: weakref.WeakSet[Generator[Any, None, None]] = weakref.WeakSet()


@atexit.register
def _stop_pipelines() -> None:
    """Ends the pipelines that still run when Python exits.

    A Python function that a thread of theirs calls while the interpreter shuts down never returns, and
    TensorFlow would wait for it for ever.
    """
    for batches in list(_running):
        with contextlib.suppress(ValueError):  # another thread is inside
            batches.close()
    gc.collect()


class TrainingBatches:
    """The batches of a training run: a batch is a function of the seed, the step and the broken rows.

    Rows with an input that cannot be read are found when they come up, named in the log, and replaced from then on
    by the sampler's next good row. What replaces a row does not depend on when it was found, so a run that
    was cut at any step and goes on with the saved `bad_rows` sees the same batches as one that was not.

    Args:
        table: the training split.
        sampler: the order of its pairs.
        readers: of each side.
        max_bad_rows: more broken rows than this stop the run.
        on_bad_row: is told about each broken row in one sentence.

    Attributes:
        bad_rows: the broken rows found so far, ascending. Save it, and set it before `iterate` to go on.
    """

    def __init__(
        self,
        table: RowTable,
        sampler: Sampler,
        readers: Mapping[str, Reader],
        *,
        max_bad_rows: int = 10,
        on_bad_row: Callable[[str], None] = logging.warning,
    ):
        self._table = table
        self._sampler = sampler
        self._readers = readers
        self._max_bad_rows = max_bad_rows
        self._on_bad_row = on_bad_row
        self.bad_rows: list[int] = []

    def dataset(self, start_step: int) -> tf.data.Dataset:
        """Endless batches from `start_step` on, without the rows that are known to be broken by now.

        Only the order of an epoch is computed in Python, once an epoch: a call of Python at each step costs as much as
        the matrix products of a small net.

        Returns:
            Dataset of dicts: what the readers give, (B, ...) each; `label`, `image_id` (number of the distinct image)
            and `row` int64 (B,). It raises tf.errors.OpError at a step with a broken input; `iterate` goes past it.
        """
        epoch, done = divmod(start_step, self._sampler.steps_per_epoch)
        dataset = tf.data.Dataset.range(epoch, _FOREVER).map(self._planner(tuple(self.bad_rows))).unbatch().skip(done)
        slow = [reader for reader in self._readers.values() if reader.per_example]
        if slow:
            dataset = dataset.unbatch().map(_reading(slow), num_parallel_calls=tf.data.AUTOTUNE)
            dataset = dataset.batch(self._sampler.batch_size, drop_remainder=True)
        return dataset.map(self._finisher()).prefetch(_AHEAD).with_options(pipeline.options())

    def iterate(
        self, start_step: int, distribute: Callable[[tf.data.Dataset], Any] = lambda dataset: dataset
    ) -> Iterator[Any]:
        """The batches from `start_step` on, past broken rows.

        Args:
            start_step: step of the first batch.
            distribute: what to iterate over, say `strategy.experimental_distribute_dataset`.

        Raises:
            UserError: when more than `max_bad_rows` rows are broken.
        """
        batches = self._iterate(start_step, distribute)
        _running.add(batches)
        return batches

    def _iterate(self, step: int, distribute: Callable[[tf.data.Dataset], Any]) -> Generator[Any, None, None]:
        while True:
            try:
                for batch in distribute(self.dataset(step)):
                    yield batch
                    step += 1
            except tf.errors.OpError:
                if not self._find_broken(step):
                    raise

    def _plan(self, epoch: int, bad_rows: tuple[int, ...]) -> list[np.ndarray]:
        """Rows, numbers of captions and positions of an epoch, int64 (steps, B) each, before anything is read."""
        rows, captions = self._sampler.epoch(epoch)
        for at in np.argwhere(np.isin(rows, bad_rows)) if bad_rows else ():
            rows[tuple(at)] = self._sampler.replacement(int(rows[tuple(at)]), bad_rows)
        return [rows, captions, np.arange(rows.size).reshape(rows.shape) + epoch * rows.size]

    def _planner(self, bad_rows: tuple[int, ...]) -> Callable[[tf.Tensor], pipeline.Entries]:
        """`_plan` as a graph function of the epoch."""
        shape = (self._sampler.steps_per_epoch, self._sampler.batch_size)

        @pipeline.in_graph
        def planned(epoch: tf.Tensor) -> pipeline.Entries:
            columns = pipeline.pure_python(
                lambda number: self._plan(int(number), bad_rows), [epoch], [tf.int64] * len(_PLANNED)
            )
            return {name: tf.ensure_shape(column, shape) for name, column in zip(_PLANNED, columns, strict=True)}

        return planned

    def _finisher(self) -> Callable[[pipeline.Entries], pipeline.Entries]:
        """What is read of a batch as a whole, and its labels."""
        labels, image_ids = outside_graph(self._table.labels), outside_graph(self._table.image_index)
        read = _reading([reader for reader in self._readers.values() if not reader.per_example])

        @pipeline.in_graph
        def finish(planned: pipeline.Entries) -> pipeline.Entries:
            row = planned["row"]
            entries = {name: value for name, value in read(planned).items() if name not in _PLANNED}
            return {**entries, "label": tf.gather(labels, row), "image_id": tf.gather(image_ids, row), "row": row}

        return finish

    def _find_broken(self, step: int) -> bool:
        """Looks at every input of a step that failed; whether any was found broken."""
        epoch, place = divmod(step, self._sampler.steps_per_epoch)
        rows = np.unique(self._plan(epoch, tuple(self.bad_rows))[0][place]).tolist()
        faults = {row: fault for row in rows for reader in self._readers.values() if (fault := reader.fault(row))}
        for row, fault in faults.items():
            self._on_bad_row(f"The image {self._name(row)} is broken and left out: {fault}")
        self.bad_rows = sorted({*self.bad_rows, *faults})
        if len(self.bad_rows) > self._max_bad_rows:
            names = ", ".join(self._name(row) for row in self.bad_rows)
            raise UserError(
                f"{len(self.bad_rows)} training images are broken, more than --max_bad_rows="
                f"{self._max_bad_rows} allows; repair or remove them, or raise the limit: {names}."
            )
        return bool(faults)

    def _name(self, row: int) -> str:
        return self._table.image_ids[row] if self._table.image_paths is None else self._table.image_paths[row]


def _reading(readers: list[Reader]) -> Callable[[pipeline.Entries], pipeline.Entries]:
    """Adds to planned rows what readers make of them."""

    @pipeline.in_graph
    def read(planned: pipeline.Entries) -> pipeline.Entries:
        made = [reader.read(planned["row"], planned["caption"], planned["position"]) for reader in readers]
        return {**planned, **{name: value for entries in made for name, value in entries.items()}}

    return read
