"""The line that shows how a run is getting on."""

from __future__ import annotations

import collections
import shutil
import sys
import time
from collections.abc import Callable, Mapping
from typing import TextIO

from xmkeras.bars import Forgiving


class Progress:
    """One rewritten line on a terminal, else a plain line now and then; a closed stream never stops a run.

    Args:
        stream: where to write; None is the standard output of the moment.
        batch_size: pairs a step, for images a second; 0 shows steps a second.
        steps_per_epoch: for the epoch; 0 leaves it out.
        interval: seconds between two plain lines.
        clock: the time in seconds.
    """

    def __init__(
        self,
        stream: TextIO | None = None,
        *,
        batch_size: int = 0,
        steps_per_epoch: int = 0,
        interval: float = 10.0,
        clock: Callable[[], float] = time.monotonic,
    ):
        self._stream = stream
        self._batch_size = batch_size
        self._steps_per_epoch = steps_per_epoch
        self._interval = interval
        self._clock = clock
        self._total = 0
        # Moments and steps of the last lines: a pace that forgets the slow start of a run.
        self._marks: collections.deque[tuple[float, int]] = collections.deque(maxlen=50)
        self._printed = -float("inf")
        self._open_line = False

    def start(self, step: int, total_steps: int) -> None:
        """Begins to count at `step`, where a run starts or resumes."""
        self._total = total_steps
        self._marks.clear()
        self._printed = -float("inf")

    def skip_pause(self) -> None:
        """Leaves the time since the last `show` out of the pace; called after an evaluation."""
        if self._marks:
            pause = self._clock() - self._marks[-1][0]
            self._marks = collections.deque(((t + pause, s) for t, s in self._marks), self._marks.maxlen)

    def show(self, step: int, losses: Mapping[str, float]) -> None:
        """Shows the state after `step` steps; `losses` holds `loss` and the terms that it sums."""
        now = self._clock()
        self._marks.append((now, step))
        line = self._line(step, losses)
        if self._on_terminal():
            width = shutil.get_terminal_size().columns - 1
            self._write("\r" + line[:width].ljust(width))
            self._open_line = True
        elif now - self._printed >= self._interval or step >= self._total:
            self._write(line + "\n")
            self._printed = now

    def note(self, text: str) -> None:
        """Prints `text` on a line of its own, above the progress line."""
        self.close()
        self._write(text + "\n")

    def close(self) -> None:
        """Ends the line that is being rewritten."""
        if self._open_line:
            self._write("\n")
            self._open_line = False

    def _line(self, step: int, losses: Mapping[str, float]) -> str:
        parts = [f"step {step}/{self._total}"]
        if self._steps_per_epoch:
            parts.append(f"epoch {(step - 1) // self._steps_per_epoch + 1}")
        terms = [f"{name} {value:.3g}" for name, value in losses.items() if name != "loss"]
        loss = f"loss {losses.get('loss', float('nan')):.4g}"
        parts.append(f"{loss} = {' + '.join(terms)}" if terms else loss)
        (begin, first), (end, last) = self._marks[0], self._marks[-1]
        if last > first and end > begin:
            pace = (last - first) / (end - begin)
            parts.append(
                f"{pace * self._batch_size:.0f} images/s" if self._batch_size else f"{pace:.1f} steps/s"
            )
            parts.append(f"{duration((self._total - step) / pace)} left")
        return " | ".join(parts)

    def _on_terminal(self) -> bool:
        return Forgiving(self._stream or sys.stdout).isatty()

    def _write(self, text: str) -> None:
        Forgiving(self._stream or sys.stdout).write(text)


def duration(seconds: float) -> str:
    """Hours, minutes and seconds as `2:01:05` or `1:32`."""
    minutes, second = divmod(max(0, round(seconds)), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02d}:{second:02d}" if hours else f"{minute}:{second:02d}"
