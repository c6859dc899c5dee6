"""A progress bar for long work on many items."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

T = TypeVar("T")
# Seconds between two states of a bar: a terminal rewrites its line, a log file keeps every one.
_ON_TERMINAL, _IN_FILE = 0.5, 15.0


def progress(
    items: Iterable[T], total: int, label: str, *, size: Callable[[T], int] = lambda item: 1, after: float = 3.0
) -> Iterator[T]:
    """Passes `items` through while standard error shows how far they are.

    Args:
        items: what is worked on; an item counts as done when the next one is asked for.
        total: sum of the sizes of all.
        label: says what is being done.
        size: how much of the total an item is.
        after: seconds before the bar appears; what is done sooner leaves no trace.
    """
    on_terminal = sys.stderr is not None and sys.stderr.isatty()
    between = _ON_TERMINAL if on_terminal else _IN_FILE
    with tqdm(total=total, desc=label, unit="", file=sys.stderr, mininterval=between, delay=after) as bar:
        for item in items:
            done = size(item)  # before someone takes it apart
            yield item
            bar.update(done)
