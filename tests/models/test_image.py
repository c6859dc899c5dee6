"""Image backbones: preprocessing, weights, sizes, and sentences for what cannot be."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from xmkeras.errors import UserError
from xmkeras.models.image import image_backbone, set_synchronized

SMALL = {"image_size": (32, 32), "width": 0.25}


def images(height: int = 32, width: int = 32, n: int = 2) -> np.ndarray:
    return np.random.default_rng(0).uniform(0, 255, (n, height, width, 3)).astype("f4")


def test_mobilenet_scales_pixels_to_plus_minus_one():
    preprocessing = image_backbone("mobilenet", **SMALL).get_layer("preprocessing")
    np.testing.assert_allclose(preprocessing(np.array([0, 127.5, 255], "f4")), [-1, 0, 1], atol=1e-6)


def test_resnet_takes_off_the_imagenet_means():
    backbone = image_backbone("resnet50", image_size=(32, 32))
    plain = keras.applications.ResNet50(
        input_shape=(32, 32, 3), include_top=False, pooling="avg", weights=None
    )
    plain.set_weights(backbone.get_weights())
    want = plain(keras.applications.resnet.preprocess_input(images()))
    np.testing.assert_allclose(backbone(images()), want, atol=1e-3)
    assert backbone.output_shape == (None, 2048)


@pytest.mark.parametrize(("size", "width", "features"), [((32, 48), 0.3, 307), ((64, 64), 1.5, 1536)])
def test_any_size_and_width_of_mobilenet(size, width, features):
    backbone = image_backbone("mobilenet", image_size=size, width=width)
    assert backbone(images(*size, n=1)).shape == (1, features)


def test_the_imagenet_file_loads(shared):
    path = str(shared / "weights" / "mobilenet_v1_1.0_224_imagenet_notop.weights.h5")
    backbone = image_backbone("mobilenet", image_size=(96, 64), weights=path)
    plain = keras.applications.MobileNet(
        input_shape=(96, 64, 3), include_top=False, pooling="avg", weights=path
    )
    pixels = images(96, 64)
    features = backbone(pixels).numpy()
    np.testing.assert_allclose(features, plain(pixels / 127.5 - 1).numpy(), atol=1e-4)
    assert features.std() > 0.1


def test_own_weights_load_and_those_of_another_network_do_not(tmp_path):
    backbone = image_backbone("mobilenet", **SMALL)
    path = str(tmp_path / "own.weights.h5")
    backbone.get_layer("mobilenet").save_weights(path)
    again = image_backbone("mobilenet", **SMALL, weights=path)
    for a, b in zip(backbone.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    with pytest.raises(UserError, match=r"do not fit mobilenet of width 0\.5"):
        image_backbone("mobilenet", image_size=(32, 32), width=0.5, weights=path)


def test_a_file_that_holds_no_weights_is_named(tmp_path):
    path = tmp_path / "text.weights.h5"
    path.write_text("no weights")
    with pytest.raises(UserError, match=r"text\.weights\.h5 do not fit"):
        image_backbone("mobilenet", **SMALL, weights=str(path))


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"name": "vgg"}, "choose one of mobilenet, resnet50, resnet101, resnet152"),
        ({"image_size": (16, 64)}, "16x64 pixels are too small"),
        ({"width": 0.01}, "without channels"),
        ({"name": "resnet50", "width": 0.5}, "resnet50 has no width 0.5"),
        ({"width": 0.3, "weights": "imagenet"}, "widths 0.25, 0.5, 0.75, 1 only"),
        ({"weights": "nowhere.h5"}, "no image weight file nowhere.h5"),
    ],
)
def test_what_cannot_be_is_one_sentence(changed, sentence):
    with pytest.raises(UserError, match=sentence):
        image_backbone(**{"name": "mobilenet", **SMALL, **changed})


def test_synchronised_batch_norm_reaches_every_layer():
    backbone = image_backbone("mobilenet", **SMALL)
    norms = [layer for layer in backbone.get_layer("mobilenet").layers if "bn" in layer.name]
    for on in (True, False):
        set_synchronized(backbone, on)
        assert [layer.synchronized for layer in norms] == [on] * 27


def test_pixels_keep_their_precision_under_half_precision():
    keras.mixed_precision.set_global_policy("mixed_bfloat16")
    try:
        backbone = image_backbone("mobilenet", **SMALL)
        preprocessed = backbone.get_layer("preprocessing")(np.array([200.7], "f4"))
        assert backbone.output.dtype == "bfloat16"
    finally:
        keras.mixed_precision.set_global_policy("float32")
    np.testing.assert_allclose(preprocessed.numpy(), 200.7 / 127.5 - 1, rtol=1e-6)


def test_the_momentum_reaches_every_batch_norm_of_the_towers():
    from xmkeras.models.image import batch_norms, image_backbone, set_norm_momentum

    backbone = image_backbone("mobilenet", image_size=(32, 32), width=0.25)
    set_norm_momentum(backbone, 0.5)
    assert len(list(batch_norms(backbone))) == 27
    assert {layer.momentum for layer in batch_norms(backbone)} == {0.5}
