import io
import struct

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tests.data import samples
from xmkeras.data import animations, decoding


def gif_of_one_patch(canvas: tuple[int, int], corner: tuple[int, int], *, local: bool = False) -> bytes:
    """A GIF whose only frame, 4 high and 6 wide, in colour (200, 100, 50), does not fill its canvas."""
    palette = [1, 2, 3, 200, 100, 50, 0, 0, 0, 0, 0, 0]
    image = Image.fromarray(np.ones((4, 6), np.uint8), "P")
    image.putpalette(palette + [0] * (768 - len(palette)))
    data = samples.encode(image, "GIF")
    table = 3 * (2 << (data[10] & 7))
    at = data.index(b",", 13 + table)
    place = struct.pack("<HHHH", corner[1], corner[0], 6, 4)
    screen = struct.pack("<HH", canvas[1], canvas[0])
    colours, pixels = data[13 : 13 + table], data[at + 10 :]
    if local:
        return data[:6] + screen + b"\0\0\0" + b"," + place + bytes([0x80 | data[10] & 7]) + colours + pixels
    return data[:6] + screen + data[10:13] + colours + b"," + place + b"\0" + pixels


@pytest.mark.parametrize("local", [False, True])
@pytest.mark.parametrize("corner", [(2, 3), (0, 0), (8, 9)])
def test_a_smaller_frame_stays_in_its_place_on_white(corner, local):
    image = decoding.decode(tf.constant(gif_of_one_patch((12, 15), corner, local=local))).numpy()
    expected = np.full((12, 15, 3), 255)
    expected[corner[0] : corner[0] + 4, corner[1] : corner[1] + 6] = (200, 100, 50)
    np.testing.assert_array_equal(image, expected)


def test_a_frame_beyond_the_canvas_enlarges_it():
    assert decoding.decode(tf.constant(gif_of_one_patch((5, 5), (3, 3)))).shape == (7, 9, 3)


def test_first_gif_frame_is_alone():
    frame = animations.first_gif_frame(tf.constant(samples.animation("GIF")))
    still = Image.open(io.BytesIO(frame.data.numpy()))
    assert still.n_frames == 1
    assert frame.size.numpy().tolist() == [samples.HEIGHT, samples.WIDTH]
    assert frame.corner.numpy().tolist() == [0, 0]


def test_first_webp_frame_is_a_still_image_at_its_place():
    background = Image.new("RGBA", (64, 48), (0, 0, 0, 0))
    first = background.copy()
    first.paste(Image.fromarray(samples.gradient()).crop((0, 0, 20, 10)).convert("RGBA"), (30, 24))
    data = samples.encode(first, "WEBP", save_all=True, append_images=[background], lossless=True)
    # Pillow writes whole frames; cut the first one down by hand.
    small = samples.encode(first.crop((30, 24, 50, 34)), "WEBP", lossless=True)
    bits = small[12:]
    frame = b"".join(value.to_bytes(3, "little") for value in (15, 12, 19, 9, 100)) + b"\0" + bits
    at = data.index(b"ANMF")
    data = data[:at] + b"ANMF" + struct.pack("<I", len(frame)) + frame
    data = b"RIFF" + struct.pack("<I", len(data) - 8) + data[8:]

    found = animations.first_webp_frame(tf.constant(data), tf.constant([48, 64], tf.int64))
    assert found.corner.numpy().tolist() == [24, 30]
    assert found.size.numpy().tolist() == [10, 20]
    np.testing.assert_array_equal(decoding.decode(tf.constant(data)), samples.expected(data))


def test_too_many_tiny_blocks_are_refused():
    data = samples.encode(samples.gradient(), "GIF")
    at = 13 + 3 * (2 << (data[10] & 7))
    hostile = data[:at] + b"!\xfe" + b"\x01a" * 100_000 + b"\0" + data[at:]
    with pytest.raises(tf.errors.InvalidArgumentError, match="too many blocks"):
        tf.function(animations.first_gif_frame)(tf.constant(hostile))


@pytest.mark.parametrize("length", [11, 20, 100])
def test_a_cut_gif_is_an_error(length):
    data = samples.encode(samples.gradient(), "GIF")[:length]
    with pytest.raises(tf.errors.InvalidArgumentError):
        tf.function(animations.first_gif_frame)(tf.constant(data))


def test_a_gif_without_a_picture_is_an_error():
    with pytest.raises(tf.errors.InvalidArgumentError, match="no picture"):
        animations.first_gif_frame(tf.constant(b"GIF89a\x05\0\x05\0\0\0\0;"))
