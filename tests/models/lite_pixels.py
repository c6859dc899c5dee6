"""Pixels that are the same everywhere, and where the ImageNet weights of EfficientNet-Lite lie."""

from __future__ import annotations

import pathlib

import numpy as np
import pytest

from xmkeras.errors import UserError
from xmkeras.models.efficientnet_lite import weight_file


def pixels(side: int, n: int = 1) -> np.ndarray:
    """Smooth coloured waves with an edge through them, (n, side, side, 3) float32 in 0..255."""
    y, x = np.meshgrid(np.linspace(0, 1, side), np.linspace(0, 1, side), indexing="ij")
    waves = [np.sin((3 + k + c) * x + (5 - c) * (k + 1) * y + c) for k in range(n) for c in range(3)]
    images = np.stack(waves, -1).reshape(side, side, n, 3).transpose(2, 0, 1, 3)
    images = np.where((x > y)[None, :, :, None], images, 0.5 * images[..., ::-1])
    return np.round(127.5 + 127.5 * images).astype("f4")


def installed_weights(name: str) -> pathlib.Path:
    """The file of the pip package, or a skip that names it."""
    try:
        return weight_file(name)
    except UserError as error:
        pytest.skip(str(error))
