"""The contenders of the decoding benchmark: the bytes of a JPEG to float32 pixels of one size.

Ours, ours without unpacking large files at a part of their size, Pillow, and Pillow with what it has of the same kind
(`draft`). All resize by antialiased bilinear weights, without keeping the aspect.
"""

from __future__ import annotations

import functools
import io
from collections.abc import Callable

import numpy as np
from PIL import Image

from tools import benchmark_worker

Run = Callable[[], dict[str, float]]
_FILES = 4
_QUALITY = 90
_GAP = 2  # Pillow's usual one


@functools.lru_cache
def photographs(height: int, width: int, seed: int) -> list[bytes]:
    """JPEG files of noise whose amplitude grows with its wavelength, as that of photographs does."""
    generator = np.random.default_rng(seed)
    files = []
    for _ in range(_FILES):
        pixels = np.full((height, width, 3), 128.0, np.float32)
        for cells in (2, 4, 8, 16, 32, 64, 128, 256):
            coarse = generator.normal(size=(cells, cells, 3)).astype(np.float32)
            for channel in range(3):
                layer = Image.fromarray(coarse[..., channel]).resize((width, height), Image.Resampling.BICUBIC)
                pixels[..., channel] += 60 / np.sqrt(cells) * np.asarray(layer)
        buffer = io.BytesIO()
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(buffer, "JPEG", quality=_QUALITY)
        files.append(buffer.getvalue())
    return files


def _figure(pixels: list[np.ndarray]) -> float:
    """A mean of all pixels in which every place counts differently."""
    height, width, _ = pixels[0].shape
    places = np.linspace(0.0, 1.0, height * width).reshape(height, width, 1)
    return float(np.mean(np.stack(pixels) * places))


def ours(height: int, width: int, size: int, seed: int, *, in_part: bool = True) -> Run:
    """As in training, evaluation and serving, an image at a time."""
    tf = benchmark_worker.tensorflow()
    from xmkeras.data import images

    @tf.function(input_signature=[tf.TensorSpec((), tf.string)], autograph=False)
    def load(data: object) -> object:
        if in_part:
            return images.load(data, (size, size))
        return images.resize(images.decode(data), (size, size))

    files = [tf.constant(data) for data in photographs(height, width, seed)]
    return lambda: {"value": _figure([load(data).numpy() for data in files])}


def ours_whole(**sizes: int) -> Run:
    """Ours, every file unpacked whole."""
    return ours(**sizes, in_part=False)


def pillow(height: int, width: int, size: int, seed: int, *, draft: bool = False) -> Run:
    """Pillow, which resizes whole grey levels to whole grey levels."""

    def load(data: bytes) -> np.ndarray:
        image = Image.open(io.BytesIO(data))
        if draft:
            image.draft("RGB", (_GAP * size, _GAP * size))
        return np.asarray(image.convert("RGB").resize((size, size), Image.Resampling.BILINEAR), np.float32)

    files = photographs(height, width, seed)
    return lambda: {"value": _figure([load(data) for data in files])}


def pillow_draft(**sizes: int) -> Run:
    """Pillow, files unpacked at a part of their size."""
    return pillow(**sizes, draft=True)
