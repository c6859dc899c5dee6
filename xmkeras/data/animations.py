"""The first frame of an animated GIF or WebP as an encoded still image, in the graph.

TensorFlow's own decoders cannot be given these files as they are: its WebP decoder (2.21) writes past its
buffer on an animation without alpha; its GIF decoder loses the canvas round a smaller first frame, shows
transparent pixels in whatever colour their palette entry has, and unpacks all frames to return one.
"""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from xmkeras.data.headers import check, little, part

_EXTENSION, _GRAPHIC_CONTROL, _DESCRIPTOR = 0x21, 0xF9, 0x2C
_WEBP_ANIMATED = 0x02
_MOST_BLOCKS = 1 << 16  # of at most 255 bytes each; without a bound a file of tiny ones would take minutes
_MOST_EXTENSIONS = 1 << 10
_BYTES = [bytes([value]) for value in range(256)]


class Frame(NamedTuple):
    """A still image and its place on its canvas.

    Attributes:
        data: the encoded image, scalar string.
        corner: (top, left) of the frame on the canvas in pixels, int64 (2,).
        size: (height, width) of the frame, int64 (2,).
        canvas: (height, width) of the canvas, at least as large as the frame reaches, int64 (2,).
    """

    data: tf.Tensor
    corner: tf.Tensor
    size: tf.Tensor
    canvas: tf.Tensor


def _encoded(values: tf.Tensor) -> tf.Tensor:
    """A vector of byte values as one scalar string."""
    return tf.strings.reduce_join(tf.gather(tf.constant(_BYTES), tf.cast(values, tf.int32)))


def _after_blocks(values: tf.Tensor, start: tf.Tensor) -> tf.Tensor:
    """The position behind a chain of GIF data blocks (length byte, data) that ends in an empty one."""
    (last,) = tf.while_loop(
        lambda at: values[at] > 0,
        lambda at: (at + 1 + tf.cast(values[at], tf.int32),),
        (start,),
        maximum_iterations=_MOST_BLOCKS,
    )
    with tf.control_dependencies([check(values[last] == 0, "This GIF has too many blocks.")]):
        return last + 1


def _palette_bytes(flags: tf.Tensor) -> tf.Tensor:
    """Length of the colour table that follows a GIF header with these flags; 0 where there is none."""
    length = 3 * tf.bitwise.left_shift(2, flags & 7)
    return tf.where(flags >= 0x80, length, 0)


def _gif_descriptor(values: tf.Tensor, start: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Position of the first frame's descriptor and the palette index that is transparent in it, or -1."""

    def skip(at: tf.Tensor, transparent: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        block = tf.cast(values[at + 1 : at + 7], tf.int32)
        found = tf.where(block[2] % 2 == 1, block[5], -1)
        transparent = tf.where(block[0] == _GRAPHIC_CONTROL, found, transparent)
        return _after_blocks(values, at + 2), transparent

    at, transparent = tf.while_loop(
        lambda at, _: values[at] == _EXTENSION, skip, (start, tf.constant(-1)), maximum_iterations=_MOST_EXTENSIONS
    )
    with tf.control_dependencies([check(values[at] == _DESCRIPTOR, "This GIF has no picture.")]):
        return tf.identity(at), transparent


def first_gif_frame(data: tf.Tensor) -> Frame:
    """The first frame of a GIF as a GIF of one frame, its transparent palette entry made white.

    Args:
        data: a GIF file, scalar string.

    Raises:
        tf.errors.InvalidArgumentError: at run time, where the file breaks off or holds no picture.
    """
    values = tf.io.decode_raw(data, tf.uint8)
    global_flags = tf.cast(values[10], tf.int32)
    at, transparent = _gif_descriptor(values, 13 + _palette_bytes(global_flags))
    descriptor = values[at : at + 10]
    flags = tf.cast(descriptor[9], tf.int32)
    pixels = at + 10 + _palette_bytes(flags)
    end = _after_blocks(values, pixels + 1)

    is_local = flags >= 0x80
    palette_flags = tf.where(is_local, flags, global_flags)
    palette = part(data, tf.where(is_local, at + 10, 13), _palette_bytes(palette_flags))
    cut = tf.where(transparent >= 0, tf.minimum(3 * transparent, tf.strings.length(palette)), 0)
    white = tf.where((transparent >= 0) & (cut < tf.strings.length(palette)), b"\xff\xff\xff", b"")
    rest = part(palette, cut + tf.strings.length(white), -1)
    sides = part(data, at + 5, 4)
    still = tf.strings.join(
        [
            *[b"GIF89a", sides, _encoded(tf.stack([palette_flags & 0x87, 0, 0]))],
            *[part(palette, 0, cut), white, rest],
            *[b",\0\0\0\0", sides, _encoded(tf.stack([flags & 0x40]))],
            *[part(data, pixels, end - pixels), b";"],
        ]
    )
    corner = tf.stack([little(descriptor, 3, 2), little(descriptor, 1, 2)])
    size = tf.stack([little(descriptor, 7, 2), little(descriptor, 5, 2)])
    screen = tf.stack([little(values, 8, 2), little(values, 6, 2)])
    return Frame(still, corner, size, tf.maximum(screen, corner + size))


def is_animated_webp(head: tf.Tensor) -> tf.Tensor:
    """Whether the header of a WebP announces an animation; scalar bool."""
    return (little(head, 12, 4) == int.from_bytes(b"VP8X", "little")) & (
        tf.cast(head[20], tf.int32) & _WEBP_ANIMATED > 0
    )


def first_webp_frame(data: tf.Tensor, canvas: tf.Tensor) -> Frame:
    """The first frame of an animated WebP as a still WebP with alpha.

    Args:
        data: a WebP file, scalar string.
        canvas: its (height, width), int64 (2,).

    Raises:
        tf.errors.InvalidArgumentError: at run time, where the file holds no frame.
    """
    frame = tf.strings.split(data, b"ANMF", maxsplit=1)[1]
    fields = tf.io.decode_raw(part(frame, 0, 20), tf.uint8)
    bits = part(frame, 20, tf.cast(little(fields, 0, 4), tf.int32) - 16)
    # The head of the new file: RIFF, its length, then VP8X with the alpha flag and the frame's two sides.
    length = tf.bitcast(22 + tf.strings.length(bits), tf.uint8)
    extended = [b"WEBPVP8X\x0a\0\0\0\x10\0\0\0", part(frame, 10, 6)]
    still = tf.strings.join([b"RIFF", _encoded(length), *extended, bits])
    corner = 2 * tf.stack([little(fields, 7, 3), little(fields, 4, 3)])
    size = 1 + tf.stack([little(fields, 13, 3), little(fields, 10, 3)])
    return Frame(still, corner, size, tf.maximum(canvas, corner + size))
