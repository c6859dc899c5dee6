"""Rows to batches of training: seeded, resumable, past broken images."""

from __future__ import annotations

import atexit
import contextlib
import gc
import re
import weakref
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from absl import logging

from xmkeras.data import images, pipeline
from xmkeras.data.rows import RowTable
from xmkeras.data.sampling import PairSampler
from xmkeras.data.token_vectors import TokenVectors
from xmkeras.errors import UserError

_FOREVER = np.iinfo(np.int64).max
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

    Rows whose image cannot be read are found when they come up, named in the log, and replaced from then on
    by the sampler's next good row. What replaces a row does not depend on when it was found, so a run that
    was cut at any step and goes on with the saved `bad_rows` sees the same batches as one that was not.

    Args:
        table: the training split.
        sampler: the order of its pairs.
        image_size: (height, width) of the images.
        tokenize: strings (batch,) -> int32 ids (batch, length), graph ops.
        augmentation: variations of the images; features have their variations already.
        seed: of the variations, each of which is a function of (seed, position in the run).
        max_bad_rows: more broken rows than this stop the run.
        features: float (rows, f), or (rows, views, f) of which a random view is taken each time, instead of
            images. NaN marks a row whose image could not be read.
        tokens: the vectors that a frozen BERT makes of the captions, instead of token ids.
        on_bad_row: is told about each broken row in one sentence.

    Attributes:
        bad_rows: the broken rows found so far, ascending. Save it, and set it before `iterate` to go on.
    """

    def __init__(
        self,
        table: RowTable,
        sampler: PairSampler,
        *,
        image_size: images.Size,
        tokenize: pipeline.Tokenize,
        augmentation: images.Augmentation,
        seed: int,
        max_bad_rows: int = 10,
        features: np.ndarray | None = None,
        tokens: TokenVectors | None = None,
        on_bad_row: Callable[[str], None] = logging.warning,
    ):
        if features is not None and len(features) != len(table):
            raise ValueError(f"{len(features)} rows of features for {len(table)} rows of the table")
        self._table = table
        self._sampler = sampler
        self._image_size = image_size
        self._tokenize = tokenize
        self._augmentation = augmentation
        self._seed = seed
        self._max_bad_rows = max_bad_rows
        self._features = features
        self._tokens = tokens
        self._on_bad_row = on_bad_row
        self.bad_rows: list[int] = []

    def dataset(self, start_step: int) -> tf.data.Dataset:
        """Endless batches from `start_step` on, without the rows that are known to be broken by now.

        Returns:
            Dataset of dicts: `image` float32 (B, H, W, 3) in 0..255, or `image_features` float32 (B, f);
            `text` int32 (B, L), or `text_tokens` float32 (B, L, f) and `text_mask` bool (B, L); `label`,
            `image_id` (number of the distinct image) and `row` int64 (B,).
            It raises tf.errors.OpError at a step with a broken image; `iterate` goes past it.
        """
        dataset = tf.data.Dataset.range(start_step, _FOREVER).map(self._planner(tuple(self.bad_rows)))
        if self._features is None:
            dataset = dataset.unbatch()
            dataset = dataset.map(pipeline.in_graph(self._read), num_parallel_calls=tf.data.AUTOTUNE)
            dataset = dataset.map(pipeline.in_graph(self._decode), num_parallel_calls=tf.data.AUTOTUNE)
            dataset = dataset.batch(self._sampler.batch_size, drop_remainder=True)
        return dataset.map(pipeline.in_graph(self._finish)).prefetch(2).with_options(pipeline.options())

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

    def _plan(self, step: int, bad_rows: Sequence[int]) -> dict[str, np.ndarray]:
        """The columns of a step's batch before anything is read."""
        rows, numbers, positions = self._sampler.batch(step)
        for at in np.flatnonzero(np.isin(rows, bad_rows)):
            rows[at] = self._sampler.replacement(int(rows[at]), bad_rows)
        captions = [self._table.captions[row] for row in rows]
        texts = [own[number % len(own)] for own, number in zip(captions, numbers, strict=True)]
        columns = {"row": rows, "position": positions, **pipeline.text_columns(texts, self._tokens)}
        columns |= {"label": self._table.labels[rows], "image_id": self._table.image_index[rows]}
        if self._features is not None:
            columns["image_features"] = self._features_of(rows, step)
        return columns

    def _features_of(self, rows: np.ndarray, step: int) -> np.ndarray:
        assert self._features is not None
        if self._features.ndim == 2:
            return self._features[rows].astype(np.float32)
        views = np.random.default_rng([self._seed, step, 1]).integers(self._features.shape[1], size=len(rows))
        return self._features[rows, views].astype(np.float32)

    def _planner(self, bad_rows: Sequence[int]) -> Callable[[tf.Tensor], pipeline.Batch]:
        """`_plan` as a graph function of the step, which fails where the features of a row are missing."""
        types = dict.fromkeys(("row", "position", "label", "image_id"), tf.int64) | pipeline.text_types(self._tokens)
        shapes = pipeline.text_shapes(self._tokens)
        if self._features is not None:
            types["image_features"] = tf.float32
            shapes["image_features"] = (self._features.shape[-1],)

        def plan(step: np.ndarray) -> list[np.ndarray]:
            columns = self._plan(int(step), bad_rows)
            if "image_features" in columns and np.isnan(columns["image_features"]).any():
                raise ValueError("features of a broken image")
            return [columns[name] for name in types]

        @pipeline.in_graph
        def planned(step: tf.Tensor) -> pipeline.Batch:
            return pipeline.columns_in_graph(plan, step, types, shapes, self._sampler.batch_size)

        return planned

    def _read(self, example: pipeline.Batch) -> pipeline.Batch:
        return {**example, "image": self._table.read_image(example["row"])}

    def _decode(self, example: pipeline.Batch) -> pipeline.Batch:
        seed = tf.stack([tf.constant(self._seed, tf.int64), example["position"]])
        image = pipeline.loader(self._image_size, self._augmentation)(example["image"], seed)
        return {**example, "image": image}

    def _finish(self, batch: pipeline.Batch) -> pipeline.Batch:
        kept = {name: column for name, column in batch.items() if name != "position"}
        if self._tokens is not None:
            return kept
        ids = tf.ensure_shape(self._tokenize(batch["text"]), (self._sampler.batch_size, None))
        return {**kept, "text": ids}

    def _find_broken(self, step: int) -> bool:
        """Looks at every image of a step that failed; whether any was found broken."""
        rows = np.unique(self._plan(step, self.bad_rows)["row"])
        faults = {int(row): fault for row in rows if (fault := self._fault_of(int(row)))}
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

    def _fault_of(self, row: int) -> str:
        """What is wrong with the image of a row; "" when nothing is."""
        if self._features is not None:
            return "it could not be read when the features were made." if np.isnan(self._features[row]).any() else ""
        try:
            # Eagerly: a compiled function would bury the message in its graph's.
            images.load(self._table.read_image(tf.constant(row, tf.int64)), self._image_size)
        except tf.errors.OpError as error:
            text = re.sub(r"\{\{.*?\}\}|\[Op:.*?\].*|assertion failed: ", "", error.message.split("\n")[0])
            return text.strip(" []'")
        return ""

    def _name(self, row: int) -> str:
        return self._table.image_ids[row] if self._table.image_paths is None else self._table.image_paths[row]
