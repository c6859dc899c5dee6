"""Pooled features of a frozen image backbone, computed once and kept on disk."""

from __future__ import annotations

import json
import os
import pathlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from xmkeras.errors import UserError


def cached_features(
    directory: pathlib.Path,
    fingerprint: str,
    batches: Callable[[], Iterable[Mapping[str, Any]]],
    encode: Callable[[Any], Any],
    shape: tuple[int, ...],
) -> np.ndarray:
    """Features of a split, memory-mapped; computed when `directory` does not hold those of `fingerprint`.

    Args:
        directory: where `features.npy` lies.
        fingerprint: of everything that decides the features (backbone weights, rows, image size).
        batches: makes the batches `{"image": (b, H, W, 3) or (b, v, H, W, 3), "row": (b,)}`; rows that cannot be read
            are missing and keep NaN.
        encode: images (b, H, W, 3) -> features (b, f).
        shape: (n, f), or (n, v, f) with v views of an image.

    Returns:
        float32 array of `shape`; a row of NaN stands for an image that cannot be read.

    Raises:
        UserError: the disk is full.
    """
    array_file, stamp_file = directory / "features.npy", directory / "features.json"
    stamp = {"fingerprint": fingerprint, "shape": list(shape)}
    if array_file.is_file() and stamp_file.is_file() and json.loads(stamp_file.read_text("utf-8")) == stamp:
        return np.load(array_file, mmap_mode="r")
    partial = directory / f".features.{os.getpid()}.npy"
    try:
        directory.mkdir(parents=True, exist_ok=True)
        features = np.lib.format.open_memmap(partial, mode="w+", dtype=np.float32, shape=shape)
        features[:] = np.nan
        for batch in batches():
            images, rows = batch["image"], np.asarray(batch["row"])
            if len(shape) == 2:
                features[rows] = np.asarray(encode(images))
            else:
                for view in range(shape[1]):
                    features[rows, view] = np.asarray(encode(images[:, view]))
        features.flush()
        stamp_file.unlink(missing_ok=True)
        partial.replace(array_file)
        stamp_file.write_text(json.dumps(stamp), "utf-8")
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise UserError(
            f"The image features cannot be written to {directory}: {error.strerror}; free some space, or train with "
            "--nofeature_cache."
        ) from error
    return np.load(array_file, mmap_mode="r")
