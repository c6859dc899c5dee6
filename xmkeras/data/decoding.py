"""Encoded bytes to upright RGB pixels, in the graph: one decoder for training, evaluation and serving.

Only core TensorFlow ops, so that an exported model can use it in any process. Every fault of a file is a
`tf.errors.InvalidArgumentError` at run time.
"""

from __future__ import annotations

import functools

import tensorflow as tf

from xmkeras.data import animations, headers

MAX_PIXELS = 2**26
_DCT = "INTEGER_ACCURATE"  # Pillow's; TensorFlow's default differs from it by one grey level on average.
# Where three times the sides that are asked for are left, a resize hides how a JPEG was halved: pixels of photographs
# change by .3 to .5 grey levels on average, by 2 at the 99th percentile. With two times, Pillow's usual `reducing_gap`,
# it is .6 to 1.2 and 3 to 6.
_GAP = 3


def decode(data: tf.Tensor, *, max_pixels: int = MAX_PIXELS, window: tf.Tensor | None = None) -> tf.Tensor:
    """Decodes a PNG, JPEG, WebP, GIF or BMP; of an animation the first frame.

    Grey, palette, CMYK and 16-bit images become 8-bit RGB (the high byte), alpha is laid on white,
    and the EXIF orientation of a JPEG is applied. The size is read from the header and checked before
    anything is unpacked.

    Args:
        data: scalar string, the bytes of an image file.
        max_pixels: largest accepted height x width.
        window: float32 (4,), the part to cut out: its height and width as shares of the image's in (0, 1],
            and its place between top and bottom, left and right, in [0, 1]. Of a JPEG only that part is
            unpacked.

    Returns:
        uint8 (height, width, 3).
    """
    # Eagerly for itself: a traced function would bury a fault's message in that of its graph.
    return (_decode if tf.executing_eagerly() else _traced)(data, max_pixels, window)


def decode_for(
    data: tf.Tensor, target: tuple[int, int], *, max_pixels: int = MAX_PIXELS
) -> tuple[tf.Tensor, tf.Tensor]:
    """`decode` for an image that will be resized to `target`, height and width, and may be unpacked in part.

    A JPEG whose sides are at least 6, 12 or 24 times those of `target` is unpacked at a half, a quarter or an eighth of
    its size, as libjpeg does for little.

    Returns:
        uint8 (height, width, 3), and how much of its sides the image fills, float32 (2,): a JPEG of 771 pixels at a
        quarter has 193, of which the last is filled to three quarters.
    """
    return (_decode_for if tf.executing_eagerly() else _traced_for)(data, max_pixels, target)


def _decode(data: tf.Tensor, max_pixels: int, window: tf.Tensor | None) -> tf.Tensor:
    head = headers.header(data)
    kind = headers.image_format(head)
    image = tf.cond(
        kind == headers.JPEG,
        lambda: _decode_jpeg(data, max_pixels, window),
        lambda: _cut(_decode_other(data, head, kind, max_pixels), window),
    )
    return tf.ensure_shape(image, (None, None, 3))


def _decode_for(data: tf.Tensor, max_pixels: int, target: tuple[int, int]) -> tuple[tf.Tensor, tf.Tensor]:
    head = headers.header(data)
    kind = headers.image_format(head)

    def other() -> tuple[tf.Tensor, tf.Tensor]:
        image = _decode_other(data, head, kind, max_pixels)
        return image, tf.cast(tf.shape(image)[:2], tf.float32)

    def jpeg() -> tuple[tf.Tensor, tf.Tensor]:
        size = tf.image.extract_jpeg_shape(data)[:2]
        checked, orientation = _checked(data, size, max_pixels), headers.exif_orientation(data)
        size = tf.where(orientation >= 5, size[::-1], size)
        spare = tf.reduce_min(size // [_GAP * side for side in target])

        def at(ratio: int) -> tuple[tf.Tensor, tf.Tensor]:
            image = tf.image.decode_jpeg(checked, channels=3, ratio=ratio, dct_method=_DCT)
            return image, tf.cast(size, tf.float32) / ratio

        # The most frequent first: a branch inside of a branch that is not taken costs nothing.
        unpack = functools.partial(at, 8)
        for ratio in (4, 2, 1):
            unpack = functools.partial(tf.cond, spare < 2 * ratio, functools.partial(at, ratio), unpack)
        image, extent = unpack()
        return orient(image, orientation), extent

    image, extent = tf.cond(kind == headers.JPEG, jpeg, other)
    return tf.ensure_shape(image, (None, None, 3)), extent


# Some hundred ops, traced once a process instead of once for each pipeline and signature.
_traced = tf.function(_decode, autograph=False)
_traced_for = tf.function(_decode_for, autograph=False)


def _decode_other(data: tf.Tensor, head: tf.Tensor, kind: tf.Tensor, max_pixels: int) -> tf.Tensor:
    """What is no JPEG."""
    return tf.cond(
        kind == headers.PNG,
        lambda: _decode_png(data, head, max_pixels),
        lambda: _decode_rare(data, head, kind, max_pixels),
    )


@tf.function(autograph=False, experimental_attributes={"_noinline": True})
def _decode_rare(data: tf.Tensor, head: tf.Tensor, kind: tf.Tensor, max_pixels: int) -> tf.Tensor:
    """GIF, WebP and BMP, kept out of line: inlined, their many small ops would slow every PNG and JPEG."""
    # Nested, not `switch_case`: tf.data takes that op for stateful, and gives up its parallelism for it under
    # `enable_op_determinism`.
    bmp = functools.partial(_decode_bmp, data, head, max_pixels)
    webp = functools.partial(_decode_webp, data, head, max_pixels)
    gif = functools.partial(_decode_gif, data, max_pixels)
    bmp_or_fail = functools.partial(tf.cond, kind == headers.BMP, bmp, _refuse)
    webp_or_later = functools.partial(tf.cond, kind == headers.WEBP, webp, bmp_or_fail)
    return tf.cond(kind == headers.GIF, gif, webp_or_later)


def orient(image: tf.Tensor, orientation: tf.Tensor) -> tf.Tensor:
    """Turns an image (h, w, c) upright from the EXIF orientation (scalar int32, 1-8) it was stored in."""

    def turn() -> tf.Tensor:
        turned = tf.cond(orientation >= 5, lambda: tf.transpose(image, (1, 0, 2)), lambda: image)
        mirrored, upended = (tf.reduce_any(orientation == o) for o in ((2, 3, 6, 7), (3, 4, 7, 8)))
        turned = tf.cond(mirrored, lambda: turned[:, ::-1], lambda: turned)
        return tf.cond(upended, lambda: turned[::-1], lambda: turned)

    return tf.cond(orientation > 1, turn, lambda: image)


def on_white(image: tf.Tensor, opaque: tf.Tensor | int = 255) -> tf.Tensor:
    """Lays a uint8 RGBA image (h, w, 4) on white: uint8 (h, w, 3). `opaque` is the alpha that hides all."""

    def blend() -> tf.Tensor:
        pixels = tf.cast(image, tf.float32)
        shown = 255.0 + (pixels[..., :3] - 255.0) * (pixels[..., 3:] / 255.0)
        return tf.cast(tf.round(shown), tf.uint8)

    least = tf.cast(tf.reduce_min(image[..., 3]), tf.int32)
    return tf.cond(least < opaque, blend, lambda: image[..., :3])


def _pixels(window: tf.Tensor, size: tf.Tensor) -> tf.Tensor:
    """A window (shares, places) of an image of `size` as (top, left, height, width), int32 (4,)."""
    sides = tf.cast(size, tf.float32)
    extent = tf.clip_by_value(tf.round(window[:2] * sides), 1.0, sides)
    corner = tf.round(window[2:] * (sides - extent))
    return tf.cast(tf.concat([corner, extent], 0), tf.int32)


def _cut(image: tf.Tensor, window: tf.Tensor | None) -> tf.Tensor:
    if window is None:
        return image
    top, left, height, width = tf.unstack(_pixels(window, tf.shape(image)[:2]))
    return image[top : top + height, left : left + width]


def _checked(data: tf.Tensor, size: tf.Tensor, max_pixels: int) -> tf.Tensor:
    """`data`, once the header's (height, width) is known to be acceptable."""
    count = tf.reduce_prod(tf.cast(size, tf.int64))
    message = f"The header's height x width is not between 1 and {max_pixels} pixels."
    with tf.control_dependencies([headers.check((count >= 1) & (count <= max_pixels), message)]):
        return tf.identity(data)


def _refuse() -> tf.Tensor:
    failed = headers.check(False, "These bytes are no PNG, JPEG, WebP, GIF or BMP image.")
    with tf.control_dependencies([failed]):
        return tf.zeros((1, 1, 3), tf.uint8)


def _decode_jpeg(data: tf.Tensor, max_pixels: int, window: tf.Tensor | None) -> tf.Tensor:
    size = tf.image.extract_jpeg_shape(data)[:2]
    data = _checked(data, size, max_pixels)
    orientation = headers.exif_orientation(data)

    def whole() -> tf.Tensor:
        return _cut(orient(tf.image.decode_jpeg(data, channels=3, dct_method=_DCT), orientation), window)

    if window is None:
        return whole()
    crop = _pixels(window, size)
    return tf.cond(
        orientation == 1,
        lambda: tf.image.decode_and_crop_jpeg(data, crop, channels=3, dct_method=_DCT),
        whole,
    )


def _decode_png(data: tf.Tensor, head: tf.Tensor, max_pixels: int) -> tf.Tensor:
    data = _checked(data, headers.png_size(head), max_pixels)
    bits, is_grey = tf.cast(head[24], tf.int32), head[25] == 0
    # The decoder fills the alpha of 1-, 2- and 4-bit grey with the largest number of those bits, not 255.
    opaque = tf.where(is_grey & (bits < 8), tf.bitwise.left_shift(1, bits) - 1, 255)
    return on_white(tf.image.decode_png(data, channels=4), opaque)


def _decode_gif(data: tf.Tensor, max_pixels: int) -> tf.Tensor:
    frame = animations.first_gif_frame(data)
    still = _checked(frame.data, frame.canvas, max_pixels)
    return _on_canvas(tf.image.decode_image(still, channels=3, expand_animations=False), frame)


def _decode_webp(data: tf.Tensor, head: tf.Tensor, max_pixels: int) -> tf.Tensor:
    size = headers.webp_size(head)

    def still(checked: tf.Tensor) -> tf.Tensor:
        image = tf.image.decode_image(checked, expand_animations=False)
        return tf.cond(tf.shape(image)[2] == 4, lambda: on_white(image), lambda: image)

    def animated() -> tf.Tensor:
        frame = animations.first_webp_frame(data, size)
        return _on_canvas(still(_checked(frame.data, frame.canvas, max_pixels)), frame)

    return tf.cond(animations.is_animated_webp(head), animated, lambda: still(_checked(data, size, max_pixels)))


def _on_canvas(image: tf.Tensor, frame: animations.Frame) -> tf.Tensor:
    """A frame (h, w, 3) at its place on a white canvas."""
    sides = tf.stack([frame.corner, frame.canvas - frame.corner - frame.size], axis=1)
    borders = tf.concat([sides, [[0, 0]]], 0)
    return tf.pad(image, borders, constant_values=tf.constant(255, tf.uint8))


def _decode_bmp(data: tf.Tensor, head: tf.Tensor, max_pixels: int) -> tf.Tensor:
    data = _checked(data, headers.bmp_size(head), max_pixels)
    info_bytes, bits, packing = (headers.little(head, *at) for at in ((14, 4), (28, 2), (30, 4)))
    plain = (info_bytes >= 40) & ((packing == 0) | ((packing == 3) & (bits == 32)))
    with tf.control_dependencies([headers.check(plain, "This kind of BMP is not supported.")]):
        data = tf.identity(data)
    small = (bits == 1) | (bits == 4)
    return tf.cond(small, lambda: _small_bmp(data, head), lambda: _large_bmp(data, head, info_bytes, bits))


def _small_bmp(data: tf.Tensor, head: tf.Tensor) -> tf.Tensor:
    """A BMP of 1 or 4 bits a pixel, which TensorFlow's own decoder refuses: numbers of colours in a palette."""
    start, info_bytes, bits = (tf.cast(headers.little(head, *at), tf.int32) for at in ((10, 4), (14, 4), (28, 2)))
    height, width = tf.unstack(tf.cast(headers.bmp_size(head), tf.int32))
    stride = (width * bits + 31) // 32 * 4  # rows fill words of four bytes
    rows = headers.part(data, start, stride * height)
    with tf.control_dependencies([headers.check(tf.strings.length(rows) == stride * height, "The BMP is cut short.")]):
        packed = tf.reshape(tf.cast(tf.io.decode_raw(rows, tf.uint8), tf.int32), (height, stride, 1))
    shifts = tf.range(8 - bits, -1, -bits)  # the first pixel is in the highest bits
    numbers = tf.bitwise.right_shift(packed, shifts) % tf.bitwise.left_shift(1, bits)
    numbers = tf.reshape(numbers, (height, -1))[:, :width]
    table = tf.io.decode_raw(headers.part(data, 14 + info_bytes, 64), tf.uint8, fixed_length=64)
    image = tf.gather(tf.reshape(table, (16, 4))[:, 2::-1], numbers)
    from_top = tf.bitcast(head[22:26], tf.int32) < 0
    return tf.cond(from_top, lambda: image, lambda: image[::-1])


def _large_bmp(data: tf.Tensor, head: tf.Tensor, info_bytes: tf.Tensor, bits: tf.Tensor) -> tf.Tensor:
    """A BMP of 8, 24 or 32 bits a pixel."""
    image = tf.image.decode_bmp(data)

    def colours() -> tf.Tensor:
        table = headers.part(data, tf.cast(14 + info_bytes, tf.int32), 1024)
        palette = tf.reshape(tf.io.decode_raw(table, tf.uint8, fixed_length=1024), (256, 4))[:, 2::-1]
        return tf.gather(palette, tf.cast(image[..., 0], tf.int32))

    # The fourth channel is alpha only where a version 4 or 5 header has a mask for it; else it is padding.
    has_alpha = (bits == 32) & (info_bytes >= 108) & (headers.little(head, 66, 4) > 0)
    return tf.cond(bits == 8, colours, lambda: tf.cond(has_alpha, lambda: on_white(image), lambda: image[..., :3]))
