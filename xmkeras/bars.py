"""A progress bar for long work on many items."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from tqdm import tqdm

T = TypeVar("T")
# Seconds between two states of a bar: a terminal rewrites its line, a log file keeps every one.
_ON_TERMINAL, _IN_FILE = 0.5, 15.0


def progress(
    items: Iterable[T], total: int, label: str, *, size: Callable[[T], int] = lambda item: 1, after: float = 3.0
) -> Iterator[T]:
    """Passes `items` through while standard error shows how far they are; a closed stream stops no work.

    Args:
        items: what is worked on; an item counts as done when the next one is asked for.
        total: sum of the sizes of all.
        label: says what is being done.
        size: how much of the total an item is.
        after: seconds before the bar appears, in a file with its first state after a quarter of a minute; what is done
            sooner leaves no trace.
    """
    stream = Forgiving(sys.stderr)
    between = _ON_TERMINAL if stream.isatty() else _IN_FILE
    # Always on the first line: of a bar that an error has left open, the next one need not know.
    with tqdm(
        total=total, desc=label, unit="", file=stream, mininterval=between, maxinterval=max(between, 10.0), delay=after,
        position=0,
    ) as bar:  # fmt: skip
        for item in items:
            done = size(item)  # before someone takes it apart
            yield item
            bar.update(done)


class Forgiving:
    """A stream that may be closed, broken or none at all: what is written to it then is lost, and nothing else."""

    def __init__(self, stream: Any):
        self._stream = stream
        self.encoding = getattr(stream, "encoding", None) or "ascii"

    def write(self, text: str) -> None:
        with contextlib.suppress(OSError, ValueError, AttributeError):
            try:
                self._stream.write(text)
                self._stream.flush()
            except BrokenPipeError:
                # The reader has gone; without this the interpreter complains once more at its end.
                if self._stream in (sys.stdout, sys.stderr):
                    os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())

    def flush(self) -> None:
        with contextlib.suppress(OSError, ValueError, AttributeError):
            self._stream.flush()

    def fileno(self) -> int:
        return int(self._stream.fileno())

    def isatty(self) -> bool:
        try:
            return bool(self._stream.isatty())
        except (OSError, ValueError, AttributeError):
            return False
