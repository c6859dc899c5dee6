import numpy as np
import pytest
import tensorflow as tf

from tests.data import samples
from xmkeras.data import decoding

KINDS = samples.every_kind()


@pytest.fixture(scope="module")
def decode():
    return tf.function(decoding.decode, input_signature=[tf.TensorSpec((), tf.string)])


@pytest.fixture(scope="module")
def decode_window():
    return tf.function(
        lambda data, window: decoding.decode(data, window=window),
        input_signature=[tf.TensorSpec((), tf.string), tf.TensorSpec((4,))],
    )


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_is_what_pillow_sees(decode, name):
    image = decode(KINDS[name]).numpy()
    wanted = samples.expected(KINDS[name])
    assert image.dtype == np.uint8
    np.testing.assert_array_equal(image, wanted)


@pytest.mark.parametrize("name", ["jpeg", "jpeg progressive", "jpeg turned 6", "png", "gif", "webp", "bmp"])
def test_a_window_is_that_part_of_the_whole(decode, decode_window, name):
    whole = decode(KINDS[name]).numpy()
    height, width = whole.shape[:2]
    part = decode_window(KINDS[name], [0.5, 0.25, 1.0, 0.5]).numpy()
    rows, columns = height // 2, width // 4
    left = round((width - columns) / 2)
    wanted = whole[height - rows :, left : left + columns]
    # A JPEG is cut before its chroma is interpolated, which shows in the outermost columns only.
    inner = slice(2, -2) if name.startswith("jpeg") else slice(None)
    np.testing.assert_array_equal(part[:, inner], wanted[:, inner])
    assert np.abs(part.astype(int) - wanted).max() <= 4


def test_a_window_has_at_least_one_pixel_and_at_most_all(decode_window):
    assert decode_window(KINDS["png"], [0.0, 0.0, 1.0, 1.0]).shape == (1, 1, 3)
    assert decode_window(KINDS["png"], [1.0, 1.0, 0.7, 0.7]).shape == (samples.HEIGHT, samples.WIDTH, 3)


@pytest.mark.parametrize("orientation", [1, 6])
@pytest.mark.parametrize(("target", "ratio"), [((9, 11), 1), ((8, 10), 2), ((3, 5), 4), ((2, 2), 8), ((2, 11), 1)])
def test_a_jpeg_unpacks_at_a_part_of_its_size_where_the_target_is_a_sixth(orientation, target, ratio):
    data = samples.jpeg_turned(orientation)
    target = target if orientation == 1 else target[::-1]
    whole = decoding.decode(data).numpy()
    part = decoding.decode(data, target=target).numpy()
    assert part.shape == (whole.shape[0] // ratio, whole.shape[1] // ratio, 3)
    averaged = tf.image.resize(whole, part.shape[:2], method="area")
    assert np.abs(part - averaged).mean() < 1


@pytest.mark.parametrize("orientation", [1, 6])
def test_of_a_window_its_own_sides_count(orientation):
    data = samples.jpeg_turned(orientation)
    height, width = decoding.decode(data).shape[:2]
    part = decoding.decode(data, target=(2, 2), window=tf.constant([0.5, 0.5, 1.0, 1.0])).numpy()
    assert part.shape == (height // 8, width // 8, 3)  # a half at a quarter of the size
    averaged = tf.image.resize(decoding.decode(data)[height // 2 :, width // 2 :], part.shape[:2], method="area")
    assert np.abs(part - averaged).mean() < 1


def test_a_png_is_unpacked_whole():
    assert decoding.decode(KINDS["png"], target=(1, 1)).shape == (samples.HEIGHT, samples.WIDTH, 3)


@pytest.mark.parametrize("kind", ["png", "jpeg", "gif", "webp", "bmp"])
def test_a_header_of_too_many_pixels_is_refused_before_decoding(decode, kind):
    with pytest.raises(tf.errors.InvalidArgumentError, match="not between 1 and 67108864 pixels"):
        decode(samples.oversized(kind))


def test_the_limit_is_inclusive():
    data = tf.constant(KINDS["png"])
    pixels = samples.HEIGHT * samples.WIDTH
    assert decoding.decode(data, max_pixels=pixels).shape == (samples.HEIGHT, samples.WIDTH, 3)
    with pytest.raises(tf.errors.InvalidArgumentError):
        decoding.decode(data, max_pixels=pixels - 1)


@pytest.mark.parametrize("name", ["png", "jpeg", "gif", "webp", "bmp", "bmp 1 bit"])
def test_half_a_file_is_an_error(decode, name):
    with pytest.raises(tf.errors.InvalidArgumentError):
        decode(KINDS[name][: len(KINDS[name]) // 2])


@pytest.mark.parametrize("data", [b"", b"hello", b"<svg></svg>", b"\xff\xd8\xff", b"BM", b"GIF89a", b"RIFF0000WEBP"])
def test_what_is_no_image_is_an_error(decode, data):
    with pytest.raises(tf.errors.InvalidArgumentError):
        decode(data)


def test_orient_undoes_each_exif_orientation():
    upright = np.arange(24).reshape(2, 4, 3)
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.swapaxes(0, 1),
        6: np.rot90(upright, 1),
        7: upright[::-1, ::-1].swapaxes(0, 1),
        8: np.rot90(upright, -1),
    }
    for orientation, image in stored.items():
        turned = decoding.orient(tf.constant(image), tf.constant(orientation))
        np.testing.assert_array_equal(turned, upright, err_msg=str(orientation))


def test_on_white():
    pixels = tf.constant([[[10, 20, 30, 255], [10, 20, 30, 0], [0, 100, 200, 51]]], tf.uint8)
    np.testing.assert_array_equal(decoding.on_white(pixels), [[[10, 20, 30], [255, 255, 255], [204, 224, 244]]])
