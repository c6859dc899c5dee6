"""What the first bytes of an encoded image say: its format, its size, how to turn it. In graph, core ops."""

from __future__ import annotations

import tensorflow as tf

JPEG, PNG, GIF, WEBP, BMP, UNKNOWN = range(6)
HEADER_BYTES = 80
_EXIF_HEAD = 1 << 16
_ORIENTATION_TAG = 0x0112
_SHORT = 3


def header(data: tf.Tensor) -> tf.Tensor:
    """The first 80 bytes of a scalar string as uint8 (80,), padded with zeros."""
    return tf.io.decode_raw(tf.strings.substr(data, 0, HEADER_BYTES), tf.uint8, fixed_length=HEADER_BYTES)


def part(data: tf.Tensor, start: tf.Tensor | int, count: tf.Tensor | int) -> tf.Tensor:
    """`count` bytes of a scalar string from `start` on, fewer where it ends; all the rest for a negative count.

    Unlike the bare op it accepts any start: that op's error would quote the whole file, which Python cannot
    turn into an exception where it is no UTF-8.
    """
    return tf.strings.substr(data, tf.clip_by_value(start, 0, tf.strings.length(data)), count)


def check(condition: tf.Tensor | bool, message: str) -> tf.Operation:
    """An op to depend on, which fails with `message` (InvalidArgumentError) unless `condition` holds."""
    return tf.raw_ops.Assert(condition=condition, data=[message])


def little(values: tf.Tensor, start: int, count: int) -> tf.Tensor:
    """The unsigned little-endian number of `count` bytes at `start` of a uint8 vector; scalar int64."""
    weights = tf.constant([256**k for k in range(count)], tf.int64)
    return tf.reduce_sum(tf.cast(values[start : start + count], tf.int64) * weights)


def big(values: tf.Tensor, start: int, count: int) -> tf.Tensor:
    """The unsigned big-endian number of `count` bytes at `start` of a uint8 vector; scalar int64."""
    return little(values[start : start + count][::-1], 0, count)


def image_format(head: tf.Tensor) -> tf.Tensor:
    """One of JPEG, PNG, GIF, WEBP, BMP, UNKNOWN (scalar int32) from the bytes of `header`."""
    magic = tf.bitcast(head[:4], tf.int32)

    def number(text: bytes) -> int:
        return int.from_bytes(text, "little", signed=len(text) == 4)

    is_webp = (magic == number(b"RIFF")) & (tf.bitcast(head[8:12], tf.int32) == number(b"WEBP"))
    starts = tf.stack(
        [
            tf.bitwise.bitwise_and(magic, 0xFFFFFF) == number(b"\xff\xd8\xff"),
            magic == number(b"\x89PNG"),
            magic == number(b"GIF8"),
            is_webp,
            tf.bitwise.bitwise_and(magic, 0xFFFF) == number(b"BM"),
            True,
        ]
    )
    return tf.argmax(tf.cast(starts, tf.int32), output_type=tf.int32)


def png_size(head: tf.Tensor) -> tf.Tensor:
    """(height, width) int64 of a PNG; zeros where the file does not start with its IHDR chunk."""
    starts_right = tf.bitcast(head[12:16], tf.int32) == int.from_bytes(b"IHDR", "little")
    return tf.stack([big(head, 20, 4), big(head, 16, 4)]) * tf.cast(starts_right, tf.int64)


def webp_size(head: tf.Tensor) -> tf.Tensor:
    """(height, width) int64 of the canvas of a WebP in each of its three layouts; zeros for any other."""
    bits = little(head, 21, 4)
    extended = tf.stack([little(head, 27, 3) + 1, little(head, 24, 3) + 1])
    lossy = tf.stack([little(head, 28, 2) & 0x3FFF, little(head, 26, 2) & 0x3FFF])
    lossless = tf.stack([(tf.bitwise.right_shift(bits, 14) & 0x3FFF) + 1, (bits & 0x3FFF) + 1])
    size = tf.zeros(2, tf.int64)
    for name, value in ((b"VP8X", extended), (b"VP8 ", lossy), (b"VP8L", lossless)):
        size = tf.where(tf.bitcast(head[12:16], tf.int32) == int.from_bytes(name, "little"), value, size)
    return size


def bmp_size(head: tf.Tensor) -> tf.Tensor:
    """(height, width) int64 of a BMP; rows may be stored from the top, which a negative height says."""
    sides = tf.bitcast(tf.reshape(head[18:26], (2, 4)), tf.int32)
    return tf.abs(tf.cast(sides[::-1], tf.int64))


def exif_orientation(data: tf.Tensor) -> tf.Tensor:
    """The EXIF orientation 1-8 of a JPEG (scalar int32); 1 where there is none or it cannot be read."""
    parts = tf.strings.split(tf.strings.substr(data, 0, _EXIF_HEAD), b"Exif\x00\x00", maxsplit=1)
    return tf.cond(tf.size(parts) > 1, lambda: _tiff_orientation(parts[0], parts[1]), lambda: tf.constant(1))


def _tiff_orientation(before: tf.Tensor, tiff: tf.Tensor) -> tf.Tensor:
    """The orientation in the TIFF block `tiff`, if `before` ends in the marker of an APP1 segment."""
    marker = part(before, tf.strings.length(before) - 4, 2)
    values = tf.concat([tf.io.decode_raw(tiff, tf.uint8), tf.zeros(16, tf.uint8)], 0)
    is_little = values[0] == ord("I")

    def number(part: tf.Tensor, count: int) -> tf.Tensor:
        return tf.where(is_little, little(part, 0, count), big(part, 0, count))

    length = tf.size(values, tf.int64)
    start = tf.minimum(number(values[4:8], 4), length - 2)
    count = tf.minimum(number(values[start : start + 2], 2), (length - start - 2) // 12)
    entries = tf.reshape(values[start + 2 : start + 2 + 12 * count], (-1, 12))
    ordered = tf.where(is_little, entries, tf.gather(entries, [1, 0, 3, 2, 5, 4, 7, 6, 9, 8, 11, 10], axis=1))
    words = tf.cast(ordered[:, ::2], tf.int32) + 256 * tf.cast(ordered[:, 1::2], tf.int32)
    found = words[(words[:, 0] == _ORIENTATION_TAG) & (words[:, 1] == _SHORT)][:, 4]
    value = tf.concat([found, [1]], 0)[0]
    usable = (marker == b"\xff\xe1") & (value >= 1) & (value <= 8)
    return tf.where(usable, value, 1)
