"""What a frozen part of a tower makes of its inputs, computed once and kept on disk."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from xmkeras.errors import UserError


def cached_features(
    directory: pathlib.Path,
    name: str,
    fingerprint: str,
    blocks: Callable[[], Iterable[tuple[np.ndarray, Any]]],
    shape: tuple[int, ...],
) -> np.ndarray:
    """Features of a split, memory-mapped; computed when `directory` does not hold those of `fingerprint`.

    float32, the type that they were computed in, so that a run with the cache is the run without it but for rounding,
    and an evaluation during a stage agrees with one after the run.

    Args:
        directory: where `<name>-<fingerprint>.npy` lies; several runs and processes may share it.
        name: what the features are of.
        fingerprint: hexadecimal digest of everything that decides the features (weights, rows, image size).
        blocks: makes pairs of row numbers (b,) and their features (b, ...); rows that are never named keep NaN.
        shape: (n, ...) of all features.

    Returns:
        float32 array of `shape`; a row of NaN stands for an input that cannot be read.

    Raises:
        UserError: the disk is full.
    """
    path = directory / f"{name}-{fingerprint[:32]}.npy"
    if path.is_file():
        return np.load(path, mmap_mode="r")
    partial = directory / f".{name}.{os.getpid()}.npy"
    try:
        directory.mkdir(parents=True, exist_ok=True)
        features = np.lib.format.open_memmap(partial, mode="w+", dtype=np.float32, shape=shape)
        features[:] = np.nan
        for rows, values in blocks():
            features[rows] = np.asarray(values)
        features.flush()
        partial.replace(path)
    except OSError as error:
        raise UserError(
            f"The features of {name} cannot be written to {directory}: {error.strerror}; free some space, or train "
            "with --nofeature_cache."
        ) from error
    finally:
        partial.unlink(missing_ok=True)
    return np.load(path, mmap_mode="r")
