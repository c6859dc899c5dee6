import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tests.data import samples
from xmkeras.data import images
from xmkeras.data.images import Augmentation, parse_augmentation
from xmkeras.errors import UserError

PNG = samples.encode(samples.gradient(), "PNG")
JPEG = samples.encode(samples.gradient(), "JPEG", quality=95)


def varied(data: bytes, augmentation: Augmentation, seeds: int, size: tuple[int, int] = (24, 32)) -> np.ndarray:
    """The variations of an image with seeds (1, 0), (1, 1), ..."""
    load = tf.function(lambda seed: images.load_augmented(tf.constant(data), size, augmentation, seed))
    return np.stack([load(tf.constant([1, number], tf.int64)) for number in range(seeds)])


def test_resize_shrinks_like_pillow():
    noise = np.random.default_rng(0).integers(0, 256, (120, 90, 3), dtype=np.uint8)
    pillow = np.asarray(Image.fromarray(noise).resize((32, 40), Image.Resampling.BILINEAR), np.float32)
    resized = images.resize(tf.constant(noise), (40, 32))
    assert resized.dtype == tf.float32
    assert np.abs(resized - pillow).max() <= 1.0


@pytest.mark.parametrize("size", [(60, 70), (48, 64), (20, 100), (100, 20)])
def test_resize_has_the_weights_of_antialiased_bilinear(size):
    image = tf.constant(samples.gradient())
    wanted = tf.image.resize(image, size, antialias=True)
    np.testing.assert_allclose(images.resize(image, size), wanted, atol=2e-3)


def test_resize_to_the_same_size_changes_nothing():
    np.testing.assert_array_equal(images.resize(tf.constant(samples.gradient()), (48, 64)), samples.gradient())


def test_load_of_real_photographs_is_near_pillow(shared):
    load = tf.function(lambda data: images.load(data, (64, 64)), input_signature=[tf.TensorSpec((), tf.string)])
    paths = sorted((shared / "data" / "flickr8k_subset").rglob("*.jpg"))[:12]
    assert paths
    for path in paths:
        photograph = Image.open(path).convert("RGB").resize((64, 64), Image.Resampling.BILINEAR)
        error = np.abs(load(path.read_bytes()).numpy() - np.asarray(photograph, np.float32))
        assert error.max() <= 1.01
        assert error.mean() < 0.4


@pytest.mark.parametrize("size", [(24, 24), (12, 12)])
def test_load_of_real_photographs_many_times_as_large_is_near_pillow(shared, size):
    """Unpacked at a half and at a quarter of their size."""
    errors = []
    for path in sorted((shared / "data" / "cub_10_classes").rglob("*.jpg"))[:40]:
        assert min(Image.open(path).size) >= 6 * size[0]
        exact = Image.open(path).convert("RGB").resize(size, Image.Resampling.BILINEAR)
        errors.append(np.abs(images.load(path.read_bytes(), size).numpy() - np.asarray(exact, np.float32)))
    assert np.mean(errors) < 0.8  # of which Pillow's rounding to whole grey levels is .25
    assert np.percentile(errors, 99) < 3


def test_without_augmentation_training_sees_what_evaluation_sees():
    for data in (PNG, JPEG):
        np.testing.assert_array_equal(varied(data, Augmentation(), 1)[0], images.load(tf.constant(data), (24, 32)))


def test_variations_are_a_function_of_the_seed():
    everything = Augmentation(True, 0.5, 1.25, 0.4, 0.1, 15.0)
    first, second = varied(JPEG, everything, 4), varied(JPEG, everything, 4)
    np.testing.assert_array_equal(first, second)
    assert len({image.tobytes() for image in first}) == 4
    assert first.min() >= 0
    assert first.max() <= 255


def test_flip_shows_the_image_or_its_mirror_about_equally_often():
    plain = images.load(tf.constant(PNG), (24, 32)).numpy()
    flipped = varied(PNG, Augmentation(flip=True), 60)
    mirrored = [np.array_equal(image, plain[:, ::-1]) for image in flipped]
    assert all(mirror or np.array_equal(image, plain) for mirror, image in zip(mirrored, flipped, strict=True))
    assert 15 < sum(mirrored) < 45


def coordinates(height: int, width: int) -> bytes:
    """A PNG whose red and green say where a pixel is."""
    rows, columns = np.mgrid[0:height, 0:width]
    return samples.encode(np.stack([rows, columns, 0 * rows], -1).astype(np.uint8), "PNG")


def test_crop_keeps_at_least_the_share_of_the_area():
    crops = varied(coordinates(200, 250), Augmentation(crop=0.5), 40, (50, 50))
    heights = (crops[:, -1, 0, 0] - crops[:, 0, 0, 0]) / 0.98 / 200
    widths = (crops[:, 0, -1, 1] - crops[:, 0, 0, 1]) / 0.98 / 250
    shares = heights * widths
    assert 0.45 < shares.min() < 0.6
    assert 0.9 < shares.max() <= 1.02
    assert 1.05 < (heights / widths).max() < 1.25
    assert np.ptp(crops[:, 0, 0, 0]) > 20


def test_upscale_cuts_a_window_of_the_reciprocal_share_at_a_random_place():
    crops = varied(coordinates(200, 250), Augmentation(upscale=1.25), 40, (50, 50))
    np.testing.assert_allclose((crops[:, -1, 0, 0] - crops[:, 0, 0, 0]) / 0.98, 160, rtol=0.02)
    np.testing.assert_allclose((crops[:, 0, -1, 1] - crops[:, 0, 0, 1]) / 0.98, 200, rtol=0.02)
    tops = crops[:, 0, 0, 0]
    assert tops.min() < 10
    assert tops.max() > 30


def test_a_jpeg_is_cropped_while_it_is_decoded_to_the_same_pixels_as_after():
    augmentation = Augmentation(crop=0.4)
    turned = samples.jpeg_turned(1)  # orientation 1: may be cropped while decoding
    lossless = samples.encode(samples.expected(turned), "PNG")
    error = np.abs(varied(turned, augmentation, 5) - varied(lossless, augmentation, 5))
    assert error.max() < 2  # chroma in the outermost columns
    assert error.mean() < 0.002


def test_colour_jitter_changes_colours_and_not_places():
    grey = samples.encode(np.full((8, 8, 3), 100, np.uint8), "PNG")
    jittered = varied(grey, Augmentation(colour_jitter=0.3), 50, (8, 8))
    assert np.ptp(jittered, axis=(1, 2)).max() < 1e-2  # a flat image stays flat
    assert np.ptp(jittered, axis=3).max() < 0.2  # grey has neither hue nor saturation
    levels = jittered[:, 0, 0, 0]
    assert 68 < levels.min() < 85
    assert 115 < levels.max() < 132
    red = samples.encode(np.full((8, 8, 3), (200, 40, 40), np.uint8), "PNG")
    colours = varied(red, Augmentation(colour_jitter=0.3), 50, (8, 8))[:, 0, 0]
    assert (colours[:, 0] > colours[:, 1:].max(axis=1)).all()  # red stays red
    assert np.ptp(colours[:, 1] - colours[:, 2]) > 5  # but its hue moves


def test_shift_and_rotation_bring_in_white():
    black = samples.encode(np.zeros((40, 40, 3), np.uint8), "PNG")
    moved = varied(black, Augmentation(shift=0.25), 30, (40, 40))
    share = (moved == 255).mean(axis=(1, 2, 3))
    assert share.max() > 0.2
    assert share.max() < 1 - 0.75**2 + 0.02
    turned = varied(black, Augmentation(rotate=45.0), 30, (40, 40))
    assert (turned[:, 20, 20] == 0).all()
    assert (turned[:, 0, 0] == 255).all(axis=1).any()


@pytest.mark.parametrize(
    ("text", "augmentation"),
    [
        ("", Augmentation()),
        ("none", Augmentation()),
        ("flip", Augmentation(flip=True)),
        ("flip, crop", Augmentation(flip=True, crop=0.6)),
        ("crop=0.8,rotate=5", Augmentation(crop=0.8, rotate=5.0)),
        ("timam", Augmentation(flip=True, upscale=1.25, colour_jitter=0.2)),
        ("timam,upscale=1.5,shift", Augmentation(flip=True, upscale=1.5, colour_jitter=0.2, shift=0.05)),
    ],
)
def test_parse_augmentation(text, augmentation):
    assert parse_augmentation(text) == augmentation


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("blur", "choose from none, timam, flip, crop"),
        ("flip=2", "Unknown augmentation"),
        ("crop=small", "has no number"),
        ("crop=0", "not between 0.01 and 1.0"),
        ("upscale=0.5", "not between 1.0"),
        ("crop=nan", "not between"),
    ],
)
def test_parse_augmentation_explains_what_is_wrong(text, message):
    with pytest.raises(UserError, match=message):
        parse_augmentation(text)


decode_batch = tf.function(
    lambda data: images.decode_batch(data, (10, 12)), input_signature=[tf.TensorSpec((None,), tf.string)]
)


def batch_of(*files: bytes) -> tuple[np.ndarray, np.ndarray]:
    pixels, valid = decode_batch(tf.constant(list(files), tf.string, shape=(len(files),)))
    return pixels.numpy(), valid.numpy()


def test_a_broken_row_costs_itself_only():
    pixels, valid = batch_of(PNG, b"broken", JPEG, samples.oversized("png"), b"")
    assert valid.tolist() == [True, False, True, False, False]
    np.testing.assert_array_equal(pixels[0], images.load(tf.constant(PNG), (10, 12)))
    np.testing.assert_array_equal(pixels[2], images.load(tf.constant(JPEG), (10, 12)))
    assert not pixels[[1, 3, 4]].any()


def test_batches_without_a_good_row_or_without_any():
    pixels, valid = batch_of(b"broken")
    assert valid.tolist() == [False]
    pixels, valid = batch_of()
    assert pixels.shape == (0, 10, 12, 3)
    assert valid.shape == (0,)


def test_decode_batch_can_be_saved_and_loaded(tmp_path):
    module = tf.Module()
    module.decode = decode_batch
    tf.saved_model.save(module, str(tmp_path))
    loaded = tf.saved_model.load(str(tmp_path))
    files = tf.constant([PNG, b"broken", *samples.every_kind().values()])
    for wanted, got in zip(module.decode(files), loaded.decode(files), strict=True):
        np.testing.assert_array_equal(wanted, got)
    assert loaded.decode(files)[1].numpy().tolist() == [True, False] + [True] * len(samples.every_kind())


def test_real_files_open_from_bytes_in_memory(shared):
    path = next((shared / "data" / "fashion_products").rglob("*.jpg"))
    data = path.read_bytes()
    assert images.decode(tf.constant(data)).shape[:2] == Image.open(io.BytesIO(data)).size[::-1]
