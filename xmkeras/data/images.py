"""Image files to float tensors of one size: plain for evaluation and serving, augmented for training.

In graph, of core TensorFlow ops; evaluation, serving and the unaugmented training path share `load`.
"""

from __future__ import annotations

import dataclasses
import math

import tensorflow as tf

from xmkeras.data.decoding import MAX_PIXELS, decode, decode_for
from xmkeras.errors import UserError

__all__ = [
    "MAX_PIXELS",
    "Augmentation",
    "decode",
    "decode_batch",
    "load",
    "load_augmented",
    "parse_augmentation",
    "resize",
]

Size = tuple[int, int]
VERSION = 2  # counts the changes of what pixels a file gives, on which cached features depend
_ASPECT = 1.2  # largest stretch of a random crop
_HUE_TURN = 0.1  # of a full turn, at colour jitter 1
# RGB to luma and two chroma axes (YIQ, NTSC 1953) and back; hue is a rotation of the chroma plane.
_TO_YIQ = ((0.299, 0.587, 0.114), (0.596, -0.274, -0.322), (0.211, -0.523, 0.312))


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """How a training image is varied.

    Attributes:
        flip: mirrors half of the images left to right.
        crop: smallest share of the area that a random crop keeps, in (0, 1]; 1 keeps all.
        upscale: the image is enlarged by this factor and cut back to its size at a random place, >= 1
            (TIMAM: 1.25).
        colour_jitter: brightness, contrast and saturation vary by up to this share, the hue by a tenth of it
            in turns; 0 is off.
        shift: the image moves by up to this share of its sides over white, [0, 1); meant for drawings.
        rotate: and turns by up to so many degrees over white.
    """

    flip: bool = False
    crop: float = 1.0
    upscale: float = 1.0
    colour_jitter: float = 0.0
    shift: float = 0.0
    rotate: float = 0.0

    def __post_init__(self) -> None:
        for name, low, high in (
            ("crop", 0.01, 1.0),
            ("upscale", 1.0, 10.0),
            ("colour_jitter", 0.0, 1.0),
            ("shift", 0.0, 0.9),
            ("rotate", 0.0, 180.0),
        ):
            if not low <= getattr(self, name) <= high:
                raise UserError(f"Augmentation {name}={getattr(self, name)} is not between {low} and {high}.")

    @property
    def only_flips(self) -> bool:
        """Whether the mirrored image is all the variation there is."""
        return self == Augmentation(flip=True)


_BARE: dict[str, bool | float] = {
    "flip": True,
    "crop": 0.6,
    "upscale": 1.25,
    "colour_jitter": 0.2,
    "shift": 0.05,
    "rotate": 10.0,
}


def parse_augmentation(text: str) -> Augmentation:
    """Reads `flip,crop` or `flip,crop=0.8,upscale=1.25,colour_jitter=0.3,shift=0.1,rotate=15`.

    A bare name takes its usual strength; `` and `none` switch everything off; `timam` stands for
    `upscale,flip,colour_jitter`.

    Raises:
        UserError: for an unknown name or a value out of range.
    """
    text = text.replace("timam", "upscale,flip,colour_jitter")
    values: dict[str, bool | float] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, _, value = part.partition("=")
        if name == "none":
            continue
        if name not in _BARE or (name == "flip" and value):
            raise UserError(f"Unknown augmentation {part!r}; choose from none, timam, {', '.join(_BARE)}.")
        try:
            values[name] = float(value) if value else _BARE[name]
        except ValueError:
            raise UserError(f"Augmentation {part!r} has no number after the equals sign.") from None
    return Augmentation(**values)  # type: ignore[arg-type]


def resize(image: tf.Tensor, size: Size, extent: tf.Tensor | None = None) -> tf.Tensor:
    """Resizes (h, w, 3) to `size` (height, width) by antialiased bilinear weights, the aspect not kept.

    Args:
        image: pixels.
        size: height and width of the result.
        extent: float32 (2,), how much of its height and width the image fills; all where it is None.

    Returns:
        float32 (height, width, 3), in 0..255 for a uint8 image.
    """
    # Where nothing shrinks, the plain kernel has the same weights and is several times faster.
    resized = tf.cond(
        tf.reduce_all(tf.shape(image)[:2] <= size),
        lambda: tf.image.resize(image, size),
        lambda: _shrunk(image, size, tf.cast(tf.shape(image)[:2], tf.float32) if extent is None else extent),
    )
    return tf.ensure_shape(resized, (*size, 3))


def _shrunk(image: tf.Tensor, size: Size, extent: tf.Tensor) -> tf.Tensor:
    """`tf.image.resize` with antialiasing, but of an image that may fill its last row and column in part."""
    return tf.raw_ops.ScaleAndTranslate(
        images=image[None],
        size=size,
        scale=tf.constant(size, tf.float32) / extent,
        translation=tf.zeros(2),
        kernel_type="triangle",
        antialias=True,
    )[0]


def load(data: tf.Tensor, size: Size, *, max_pixels: int = MAX_PIXELS) -> tf.Tensor:
    """The bytes of an image file (scalar string) as float32 (height, width, 3) in 0..255.

    A JPEG of sides at least six times as long is unpacked at a part of its size, see `decode_for`: of photographs this
    changes a pixel by half a grey level on average.

    Raises:
        tf.errors.InvalidArgumentError: at run time, for a broken or oversized file.
    """
    image, extent = decode_for(data, size, max_pixels=max_pixels)
    return resize(image, size, extent)


def load_augmented(data: tf.Tensor, size: Size, augmentation: Augmentation, seed: tf.Tensor) -> tf.Tensor:
    """`load` with random variations that are a pure function of `seed`, int (2,)."""
    if augmentation == Augmentation():
        return load(data, size)
    draws = tf.unstack(tf.random.stateless_uniform((12,), seed))
    window = _window(augmentation, draws[:4]) if augmentation.crop < 1 or augmentation.upscale > 1 else None
    if window is None:
        image = load(data, size)
    else:
        image = resize(decode(data, window=window), size)
    if augmentation.flip:
        image = tf.cond(draws[4] < 0.5, lambda: tf.reverse(image, [1]), lambda: image)
    if augmentation.shift or augmentation.rotate:
        image = _move(image, augmentation, draws[5:8])
    if augmentation.colour_jitter:
        image = _jitter(image, augmentation.colour_jitter, draws[8:12])
    return tf.ensure_shape(image, (*size, 3))


def decode_batch(data: tf.Tensor, size: Size, *, max_pixels: int = MAX_PIXELS) -> tuple[tf.Tensor, tf.Tensor]:
    """`load` of every row of a batch, where a broken or oversized file costs its own row only.

    Args:
        data: string (n,), n >= 0.
        size: (height, width) of the result.
        max_pixels: files of more pixels are refused before they are unpacked.

    Returns:
        float32 (n, height, width, 3), zeros in broken rows, and bool (n,), true where the row was decoded.
    """
    count = tf.shape(data, tf.int64)[0]
    # A tf.data pipeline inside the graph is the one core op that survives a failing element. The extra row
    # keeps it from being empty; it is scattered into a slot that is cut off again.
    rows = tf.data.Dataset.range(count).map(
        lambda row: (row, load(data[row], size, max_pixels=max_pixels)), num_parallel_calls=tf.data.AUTOTUNE
    )
    spare = tf.data.Dataset.from_tensors((count, tf.zeros((*size, 3))))
    pipeline = rows.ignore_errors().concatenate(spare).batch(count + 1)
    numbers, images = tf.data.Dataset.get_single_element(pipeline)
    where = numbers[:, None]
    images = tf.scatter_nd(where, images, tf.concat([[count + 1], tf.constant([*size, 3], tf.int64)], 0))[:-1]
    valid = tf.scatter_nd(where, tf.ones_like(numbers), [count + 1])[:-1] > 0
    return tf.ensure_shape(images, (data.shape[0], *size, 3)), tf.ensure_shape(valid, (data.shape[0],))


def _window(augmentation: Augmentation, draws: list[tf.Tensor]) -> tf.Tensor:
    """A random window (height share, width share, place down, place across) for `decode`."""
    area = augmentation.crop + (1.0 - augmentation.crop) * draws[0]
    stretch = tf.exp((2.0 * draws[1] - 1.0) * (0.5 * math.log(_ASPECT) if augmentation.crop < 1 else 0.0))
    side = tf.sqrt(area)
    sides = tf.minimum(tf.stack([side / stretch, side * stretch]), 1.0) / augmentation.upscale
    return tf.concat([sides, draws[2:4]], 0)


def _move(image: tf.Tensor, augmentation: Augmentation, draws: list[tf.Tensor]) -> tf.Tensor:
    """Turns and shifts (h, w, 3) about its centre; what comes in from outside is white."""
    height, width = image.shape[:2]
    turn, down, across = (2.0 * draw - 1.0 for draw in draws)
    angle = math.radians(augmentation.rotate) * turn
    cos, sin = tf.cos(angle), tf.sin(angle)
    y0, x0 = (height - 1) / 2, (width - 1) / 2
    y1, x1 = y0 + augmentation.shift * height * down, x0 + augmentation.shift * width * across
    # Output pixel (x, y) shows input pixel (a x + b y + c, d x + e y + f).
    flow = tf.stack([cos, -sin, x0 - cos * x1 + sin * y1, sin, cos, y0 - sin * x1 - cos * y1, 0.0, 0.0])
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=image[None],
        transforms=flow[None],
        output_shape=[height, width],
        fill_value=255.0,
        interpolation="BILINEAR",
        fill_mode="CONSTANT",
    )[0]


def _jitter(image: tf.Tensor, strength: float, draws: list[tf.Tensor]) -> tf.Tensor:
    """Random brightness, contrast, saturation and hue of (h, w, 3) as one affine map, clipped to 0..255."""
    brightness, contrast, saturation, hue = (2.0 * draw - 1.0 for draw in draws)
    angle = 2.0 * math.pi * _HUE_TURN * strength * hue
    chroma = 1.0 + strength * saturation
    cos, sin = chroma * tf.cos(angle), chroma * tf.sin(angle)
    to_yiq = tf.constant(_TO_YIQ)
    turn = tf.stack([tf.stack([1.0, 0.0, 0.0]), tf.stack([0.0, cos, -sin]), tf.stack([0.0, sin, cos])])
    mix = (1.0 + strength * brightness) * tf.linalg.inv(to_yiq) @ turn @ to_yiq
    lit = tf.tensordot(image, mix, [[2], [1]])
    mean = tf.reduce_mean(tf.tensordot(lit, to_yiq[0], [[2], [0]]))
    return tf.clip_by_value(mean + (1.0 + strength * contrast) * (lit - mean), 0.0, 255.0)
