"""Encoded pictures of every kind, and what Pillow makes of them."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
from PIL import Image, ImageOps

HEIGHT, WIDTH = 48, 64


def gradient() -> np.ndarray:
    """A smooth colourful picture, uint8 (48, 64, 3)."""
    ramp = np.add.outer(np.arange(HEIGHT) * 3, np.arange(WIDTH) * 2)
    return (ramp[..., None] + np.array([0, 20, 40])).clip(0, 255).astype(np.uint8)


def with_alpha() -> Image.Image:
    """The gradient with a clear, an opaque and a half clear region."""
    alpha = np.zeros((HEIGHT, WIDTH, 1), np.uint8)
    alpha[10:30, 10:30] = 255
    alpha[30:40] = 128
    return Image.fromarray(np.concatenate([gradient(), alpha], axis=-1))


def encode(image: Image.Image | np.ndarray, kind: str, **options: Any) -> bytes:
    """A picture as a file of Pillow's format `kind`."""
    image = Image.fromarray(image) if isinstance(image, np.ndarray) else image
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def expected(data: bytes) -> np.ndarray:
    """Pillow's upright first frame on white, uint8 (h, w, 3)."""
    image = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    if image.mode.startswith("I;16"):
        return np.repeat((np.array(image) >> 8).astype(np.uint8)[..., None], 3, axis=-1)
    image = image.convert("RGBA")
    return np.array(Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB"))


def jpeg_turned(orientation: int, byte_order: str = "<") -> bytes:
    """A JPEG of the gradient with an EXIF orientation, in either byte order, among other entries."""
    entries = [(0x010F, 2, 4, b"abc\0"), (0x0112, 3, 1, struct.pack(byte_order + "HH", orientation, 0))]
    block = struct.pack(byte_order + "H", len(entries))
    for tag, kind, count, value in entries:
        block += struct.pack(byte_order + "HHI", tag, kind, count) + value
    mark = b"II*\0" if byte_order == "<" else b"MM\0*"
    exif = b"Exif\0\0" + mark + struct.pack(byte_order + "I", 8) + block + b"\0\0\0\0"
    plain = encode(gradient(), "JPEG", quality=90)
    return plain[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + plain[2:]


def png_of_bits(bits: int) -> bytes:
    """A grey PNG of 1, 2 or 4 bits a pixel."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    rows = b"".join(b"\0" + bytes([0b11100100, 17 * row % 256]) for row in range(8))
    header = struct.pack(">IIBBBBB", 16 // bits, 8, bits, 0, 0, 0, 0)
    chunks = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


def animation(kind: str, *, alpha: bool = False, **options: Any) -> bytes:
    """Three frames as an animated GIF or WebP."""
    if alpha:
        frames = [with_alpha().rotate(angle) for angle in (0, 90, 180)]
    else:
        frames = [Image.fromarray(np.roll(gradient(), shift, axis=0)) for shift in (0, 9, 18)]
    return encode(frames[0], kind, save_all=True, append_images=frames[1:], **options)


def every_kind() -> dict[str, bytes]:
    """One file of every supported kind by a name that says what it is."""
    picture = Image.fromarray(gradient())
    grey, palette = picture.convert("L"), picture.quantize(32)
    return {
        "png": encode(picture, "PNG"),
        "png alpha": encode(with_alpha(), "PNG"),
        "png grey": encode(grey, "PNG"),
        "png grey alpha": encode(with_alpha().convert("LA"), "PNG"),
        "png grey with a clear colour": encode(grey, "PNG", transparency=40),
        "png palette": encode(palette, "PNG"),
        "png palette with a clear colour": encode(palette, "PNG", transparency=5),
        "png 16 bit": encode(gradient()[..., 0].astype(np.uint16) * 257, "PNG"),
        **{f"png grey {bits} bit": png_of_bits(bits) for bits in (1, 2, 4)},
        "jpeg": encode(picture, "JPEG"),
        "jpeg progressive": encode(picture, "JPEG", progressive=True),
        "jpeg grey": encode(grey, "JPEG"),
        "jpeg cmyk": encode(picture.convert("CMYK"), "JPEG"),
        **{f"jpeg turned {turn}": jpeg_turned(turn) for turn in range(1, 9)},
        "jpeg turned, big-endian": jpeg_turned(6, ">"),
        "webp": encode(picture, "WEBP"),
        "webp lossless": encode(picture, "WEBP", lossless=True),
        "webp alpha": encode(with_alpha(), "WEBP"),
        "webp lossless alpha": encode(with_alpha(), "WEBP", lossless=True),
        "webp animated": animation("WEBP"),
        "webp animated lossless": animation("WEBP", lossless=True),
        "webp animated alpha": animation("WEBP", alpha=True),
        "gif": encode(picture, "GIF"),
        "gif interlaced": encode(picture, "GIF", interlace=1),
        "gif alpha": encode(with_alpha(), "GIF"),
        "gif animated": animation("GIF"),
        "gif animated alpha": animation("GIF", alpha=True, disposal=2),
        "bmp": encode(picture, "BMP"),
        "bmp grey": encode(grey, "BMP"),
        "bmp palette": encode(palette, "BMP"),
        "bmp 32 bit": encode(with_alpha(), "BMP"),
        "bmp 1 bit": encode(grey.convert("1"), "BMP"),
        "bmp 4 bit": bmp_of_four_bits(),
        "bmp 4 bit from the top": bmp_of_four_bits(from_top=True),
    }


def bmp_of_four_bits(*, from_top: bool = False) -> bytes:
    """Five columns and three rows of a palette, which Pillow reads and does not write."""
    palette = b"".join(bytes([16 * n, 255 - 16 * n, 7 * n, 0]) for n in range(16))
    rows = b"".join(bytes([17 * n + 1, 0x3C, 0x50 + 16 * n, 0]) for n in range(3))
    info = struct.pack("<IiiHHIIiiII", 40, 5, -3 if from_top else 3, 1, 4, 0, len(rows), 0, 0, 16, 0)
    start = 14 + len(info) + len(palette)
    return b"BM" + struct.pack("<IHHI", start + len(rows), 0, 0, start) + info + palette + rows


def oversized(kind: str, side: int = 20_000) -> bytes:
    """A small file whose header announces a square of `side` pixels."""
    data = bytearray(encode(gradient(), {"webp": "WEBP"}.get(kind, kind.upper()), lossless=True))
    if kind == "png":
        data[16:24] = struct.pack(">II", side, side)
    elif kind == "jpeg":
        at = data.index(b"\xff\xc0") + 5
        data[at : at + 4] = struct.pack(">HH", side, side)
    elif kind == "gif":
        data[6:10] = struct.pack("<HH", side, side)
    elif kind == "bmp":
        data[18:26] = struct.pack("<ii", side, -side)
    else:
        side = min(side, 1 << 14)
        data[21:25] = struct.pack("<I", (side - 1) | (side - 1) << 14)
    return bytes(data)
