import numpy as np
import pytest
import tensorflow as tf

from tests.data import samples
from xmkeras.data import headers


def head(data: bytes) -> tf.Tensor:
    return headers.header(tf.constant(data))


@pytest.mark.parametrize(
    ("kind", "number"),
    [
        ("JPEG", headers.JPEG),
        ("PNG", headers.PNG),
        ("GIF", headers.GIF),
        ("WEBP", headers.WEBP),
        ("BMP", headers.BMP),
    ],
)
def test_format_is_read_from_the_first_bytes(kind, number):
    assert headers.image_format(head(samples.encode(samples.gradient(), kind))) == number


@pytest.mark.parametrize("data", [b"", b"\xff", b"RIFF\0\0\0\0WAVEfmt ", b"%PDF-1.7", b"<svg/>"])
def test_other_files_have_no_format(data):
    assert headers.image_format(head(data)) == headers.UNKNOWN


def test_header_is_padded_with_zeros():
    assert head(b"ab").numpy().tolist() == [97, 98] + [0] * 78


def test_numbers_in_both_byte_orders():
    values = tf.constant([0, 0x12, 0x34, 0xFE, 0xDC], tf.uint8)
    assert headers.little(values, 1, 4) == 0xDCFE3412
    assert headers.big(values, 1, 4) == 0x1234FEDC


def test_sizes():
    height_width = [samples.HEIGHT, samples.WIDTH]
    assert headers.png_size(head(samples.encode(samples.gradient(), "PNG"))).numpy().tolist() == height_width
    assert headers.bmp_size(head(samples.encode(samples.gradient(), "BMP"))).numpy().tolist() == height_width
    for name, data in samples.every_kind().items():
        if name.startswith("webp"):
            assert headers.webp_size(head(data)).numpy().tolist() == height_width, name


def test_a_png_that_does_not_start_with_its_header_chunk_has_no_size():
    data = samples.encode(samples.gradient(), "PNG").replace(b"IHDR", b"tEXt", 1)
    assert headers.png_size(head(data)).numpy().tolist() == [0, 0]


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(orientation, order):
    assert headers.exif_orientation(tf.constant(samples.jpeg_turned(orientation, order))) == orientation


@pytest.mark.parametrize("orientation", [0, 9, 60_000])
def test_impossible_orientations_count_as_upright(orientation):
    assert headers.exif_orientation(tf.constant(samples.jpeg_turned(orientation))) == 1


def test_a_jpeg_without_exif_is_upright():
    assert headers.exif_orientation(tf.constant(samples.encode(samples.gradient(), "JPEG"))) == 1


def test_the_word_exif_outside_its_segment_means_nothing():
    data = samples.jpeg_turned(6).replace(b"\xff\xe1", b"\xff\xe2", 1)
    assert headers.exif_orientation(tf.constant(data)) == 1


def test_damaged_exif_never_fails():
    data = bytearray(samples.jpeg_turned(6))
    start = data.index(b"Exif")
    generator = np.random.default_rng(0)
    read = tf.function(headers.exif_orientation)
    for length in range(start, start + 45):
        assert 1 <= read(tf.constant(bytes(data[:length]))) <= 8
    for _ in range(50):
        broken = data.copy()
        broken[start + generator.integers(6, 40)] = generator.integers(256)
        assert 1 <= read(tf.constant(bytes(broken))) <= 8


def test_part_never_fails():
    data = tf.constant(b"abc")
    assert headers.part(data, 1, 1) == b"b"
    assert headers.part(data, 2, 9) == b"c"
    assert headers.part(data, 9, 1) == b""
    assert headers.part(data, -9, -1) == b"abc"


def test_check():
    with pytest.raises(tf.errors.InvalidArgumentError, match="so it is"):
        headers.check(tf.constant(False), "so it is")
    headers.check(tf.constant(True), "not so")
