import numpy as np
import pytest
import tensorflow as tf

from tests.data import samples
from xmkeras.data import decoding, images

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


@pytest.fixture(scope="module")
def decode_for():
    return tf.function(decoding.decode_for)


@pytest.mark.parametrize("orientation", [1, 6])
@pytest.mark.parametrize(("target", "ratio"), [((9, 11), 1), ((8, 10), 2), ((3, 5), 4), ((2, 2), 8), ((2, 11), 1)])
def test_a_jpeg_is_unpacked_in_part_where_the_target_is_a_sixth(decode_for, orientation, target, ratio):
    data = samples.jpeg_turned(orientation)
    target = target if orientation == 1 else target[::-1]
    whole = decoding.decode(data).numpy()
    part, extent = decode_for(data, target)
    np.testing.assert_array_equal(extent, np.array(whole.shape[:2]) / ratio)
    assert part.shape == (*map(int, extent), 3)
    averaged = tf.image.resize(whole, part.shape[:2], method="area")
    assert np.abs(part.numpy().astype(np.float32) - averaged).mean() < 1


@pytest.mark.parametrize("sides", [(96, 97), (97, 103), (101, 96)])
def test_sides_that_do_not_divide_shift_nothing(sides):
    """The last row and column of the part are filled in part."""
    waves = np.sin(np.arange(sides[0])[:, None] / 7) * np.cos(np.arange(sides[1]) / 5)
    data = samples.encode(np.repeat((128 + 100 * waves).astype(np.uint8)[..., None], 3, axis=-1), "JPEG", quality=95)
    for target in ((16, 16), (8, 8), (4, 4)):
        whole = images.resize(decoding.decode(data), target)
        part, _ = decoding.decode_for(data, target)
        ways = images.load(data, target), images.resize(part, target)
        error, stretched = (np.abs(image - whole).mean() for image in ways)
        assert error < 1.3
        assert error < stretched / 2


@pytest.mark.parametrize("name", ["png", "gif", "webp", "bmp", "jpeg cmyk", "jpeg grey", "jpeg progressive"])
def test_other_kinds_are_as_they_were(decode_for, name):
    whole = decoding.decode(KINDS[name]).numpy()
    image, extent = decode_for(KINDS[name], (40, 60))
    np.testing.assert_array_equal(image, whole)
    np.testing.assert_array_equal(extent, whole.shape[:2])
    assert decode_for(KINDS["png"], (1, 1))[0].shape == decoding.decode(KINDS["png"]).shape


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
