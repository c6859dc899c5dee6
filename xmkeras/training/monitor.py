"""What a person sees of a run: metrics.csv, TensorBoard and the progress line."""

from __future__ import annotations

import os
import pathlib
import re
import time
from collections.abc import Mapping
from typing import TextIO

import numpy as np
import tensorflow as tf

from xmkeras.training.history import History
from xmkeras.training.progress import Progress

SECONDS = "time/seconds"
_NO_TERM = re.compile(r".*/.*|.*_norm")


def is_loss(name: str) -> bool:
    """Whether a number of a training step is the loss or one of its terms, by its name."""
    return not _NO_TERM.fullmatch(name)


class Monitor:
    """Shows and records the numbers of a run; a context manager.

    Writes `metrics.csv` and the TensorBoard events in `tensorboard/` of the run's directory, and a progress
    line.

    Args:
        directory: the run's.
        batch_size: pairs a step, for images a second on the progress line.
        steps_per_epoch: for the epoch on the progress line.
        stream: where the progress line goes; None is the standard output.
        interval: seconds between two lines where the stream is no terminal.
    """

    def __init__(
        self,
        directory: str | os.PathLike[str],
        *,
        batch_size: int = 0,
        steps_per_epoch: int = 0,
        stream: TextIO | None = None,
        interval: float = 10.0,
    ):
        directory = pathlib.Path(directory)
        directory.mkdir(parents=True, exist_ok=True)
        self.tensorboard = directory / "tensorboard"
        self._history = History(directory / "metrics.csv")
        self._batch_size = batch_size
        # The moment and step of the last log, less the pauses of evaluations, and the seconds trained until then.
        self._clock: tuple[float, int] | None = None
        self._seconds = 0.0
        self._progress = Progress(
            stream, batch_size=batch_size, steps_per_epoch=steps_per_epoch, interval=interval
        )
        self._events: tf.summary.SummaryWriter | None = None

    def start(self, step: int, total_steps: int) -> None:
        """Training goes on at `step` towards `total_steps`; what was recorded after `step` is forgotten."""
        if self._history.last_step > step:
            self.rewind(step)
        self._progress.start(step, total_steps)
        self._clock, self._seconds = (time.monotonic(), step), self._history.last(SECONDS)

    def log(self, step: int, numbers: Mapping[str, float]) -> None:
        """Records the numbers of a training step and shows its losses.

        Args:
            step: number of steps done.
            numbers: `loss`, its terms, and others, whose names hold a slash (`rate/adam`) or end in `_norm`. Recorded
                beside them are `time/seconds`, of training alone, and `time/images_per_second`.
        """
        self._record(step, {**numbers, **self._pace(step)})
        self._progress.show(step, {name: n for name, n in numbers.items() if is_loss(name)})

    def log_metrics(self, step: int, metrics: Mapping[str, float], split: str = "validation") -> None:
        """Records the metrics of an evaluation as `<split>/<name>`."""
        self._record(step, {f"{split}/{name}": value for name, value in metrics.items()})
        self._progress.skip_pause()
        if self._clock is not None:
            self._clock = time.monotonic(), step

    def image(self, step: int, name: str, image: np.ndarray, caption: str = "") -> None:
        """Records a picture, (height, width, 3) uint8, in TensorBoard."""
        with self._writer().as_default():
            tf.summary.image(name, image[np.newaxis], step=step, description=caption or None)
        self._writer().flush()

    def note(self, text: str) -> None:
        """Prints a line that stays."""
        self._progress.note(text)

    def rewind(self, step: int) -> None:
        """Forgets all that was recorded after `step`, where a run continues."""
        self.close()
        self._history.rewind(step)
        for path in sorted(self.tensorboard.glob("events.out.tfevents.*")):
            _rewind_events(path, step)

    def end_line(self) -> None:
        """Ends the line that shows the progress, before something else writes."""
        self._progress.close()

    def close(self) -> None:
        """Writes out what is held back. The monitor may be used again."""
        self._progress.close()
        if self._events is not None:
            self._events.close()
            self._events = None

    def __enter__(self) -> Monitor:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _pace(self, step: int) -> dict[str, float]:
        """The seconds trained until now, those of earlier parts of the run included, and images a second since then."""
        if self._clock is None:
            return {}
        now, (then, before) = time.monotonic(), self._clock
        self._clock = now, step
        self._seconds += now - then
        pairs = (step - before) * self._batch_size
        return {SECONDS: self._seconds, **({"time/images_per_second": pairs / (now - then)} if pairs else {})}

    def _record(self, step: int, numbers: Mapping[str, float]) -> None:
        self._history.append(step, numbers)
        with self._writer().as_default():
            for name, value in numbers.items():
                tf.summary.scalar(name, value, step=step)

    def _writer(self) -> tf.summary.SummaryWriter:
        if self._events is None:
            self._events = tf.summary.create_file_writer(str(self.tensorboard), flush_millis=10_000)
        return self._events


def _rewind_events(path: pathlib.Path, step: int) -> None:
    """Drops the events after `step`, and a last one that a kill has torn, from one file of TensorBoard."""
    kept: list[bytes] = []
    dropped = False
    try:
        for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
            late = tf.compat.v1.Event.FromString(record).step > step
            dropped |= late
            kept += [] if late else [record]
    except tf.errors.DataLossError:
        dropped = True
    if dropped:
        temporary = path.with_name(f".rewinding.{os.getpid()}")
        with tf.io.TFRecordWriter(str(temporary)) as writer:
            for record in kept:
                writer.write(record)
        temporary.replace(path)
