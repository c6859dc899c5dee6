"""A progress bar for long work on many files."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")


def progress(items: Iterable[T], total: int, label: str) -> Iterator[T]:
    """Passes `items` through while standard error shows how far they are (by tqdm where installed)."""
    try:
        from tqdm import tqdm
    except ImportError:
        yield from _counted(items, total, label)
        return
    yield from tqdm(items, total=total, desc=label, unit="", file=sys.stderr, mininterval=0.5)


def _counted(items: Iterable[T], total: int, label: str) -> Iterator[T]:
    step = max(1, total // 20)
    for done, item in enumerate(items, start=1):
        yield item
        if done % step == 0 or done == total:
            print(f"{label}: {done}/{total}", file=sys.stderr, flush=True)
