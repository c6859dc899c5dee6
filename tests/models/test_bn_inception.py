"""BN-Inception: shapes and names of methods' tables, and weights of the published file's layout."""

from __future__ import annotations

import functools
import pathlib

import keras
import numpy as np
import pytest

from tests.models.torch_writer import legacy_file, permuted
from xmkeras.errors import UserError
from xmkeras.models.bn_inception import bn_inception, load_weights
from xmkeras.models.image import feature_maps, image_backbone

SIDE = 48


@pytest.fixture(scope="module")
def network() -> keras.Model:
    return bn_inception((224, 224, 3))


def test_the_maps_are_those_of_the_paper(network: keras.Model):
    shapes = {
        "3a": (28, 256), "3b": (28, 320), "3c": (14, 576), "4a": (14, 576), "4b": (14, 576), "4c": (14, 608),
        "4d": (14, 608), "4e": (7, 1056), "5a": (7, 1024), "5b": (7, 1024),
    }  # fmt: skip
    for name, (side, channels) in shapes.items():
        assert network.get_layer(f"inception_{name}_output").output.shape[1:] == (side, side, channels), name
    # 11,295,240 with the classifier of 1,000 classes.
    assert sum(int(np.prod(weight.shape)) for weight in network.trainable_weights) == 11_295_240 - 1_025_000


@pytest.mark.parametrize("side", [227, 221, 49])
def test_odd_sides_are_rounded_up_as_in_caffe(side: int):
    before, sizes = (side + 6 - 7) // 2 + 1, []
    for _ in range(2):
        before = -(-(before - 3) // 2) + 1
        sizes.append(before)
    network = bn_inception((side, side, 3))
    assert network.get_layer("pool1_3x3_s2").output.shape[1] == sizes[0]
    assert network.get_layer("inception_3a_output").output.shape[1] == sizes[1]


@functools.cache
def state() -> dict[str, np.ndarray]:
    """Random tensors of the published names and shapes: `inception_3a_1x1.weight`, `inception_3a_1x1_bn.bias`."""
    random, tensors = np.random.default_rng(0), {}
    for layer in bn_inception((SIDE, SIDE, 3)).layers:
        if isinstance(layer, keras.layers.Conv2D):
            height, width, inner, outer = layer.kernel.shape
            scale = np.sqrt(2 / (height * width * inner))
            tensors[f"{layer.name}.weight"] = random.normal(0, scale, (outer, inner, height, width))
            tensors[f"{layer.name}.bias"] = random.normal(0, 0.1, outer)
            for name, low in (("weight", 0.5), ("bias", -0.5), ("running_mean", -0.5), ("running_var", 0.5)):
                tensors[f"{layer.name}_bn.{name}"] = random.uniform(low, low + 1, outer)
    tensors |= {"last_linear.weight": random.normal(size=(9, 1024)), "last_linear.bias": np.zeros(9)}
    return {name: value.astype(np.float32) for name, value in tensors.items()}


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    folder = tmp_path_factory.mktemp("weights")
    return legacy_file(folder / "bn_inception.pth", {name: permuted(value) for name, value in state().items()})


def test_a_file_of_the_published_layout_is_taken(weights: pathlib.Path):
    backbone = image_backbone("bn_inception", image_size=(SIDE, SIDE), weights=str(weights))
    layer = backbone.get_layer("bn_inception").get_layer
    tensors = state()
    kernel = tensors["inception_4e_double_3x3_2.weight"]
    np.testing.assert_array_equal(layer("inception_4e_double_3x3_2").kernel, kernel.transpose(2, 3, 1, 0))
    np.testing.assert_array_equal(layer("conv1_7x7_s2").bias, tensors["conv1_7x7_s2.bias"])
    name = "inception_5b_1x1_bn"
    np.testing.assert_array_equal(layer(name).moving_variance, tensors[f"{name}.running_var"])
    pixels = np.random.default_rng(0).uniform(0, 255, (2, SIDE, SIDE, 3)).astype(np.float32)
    first = keras.Model(backbone.input, feature_maps(backbone, "conv1_7x7_s2"))(pixels)
    # By hand, in the upper left corner: BGR less 104, 117, 128, padded by three zeros.
    bgr = np.pad(pixels[..., ::-1] - np.float32([104, 117, 128]), ((0, 0), (3, 3), (3, 3), (0, 0)))
    want = np.einsum("bhwc,ochw->bo", bgr[:, :7, :7], tensors["conv1_7x7_s2.weight"]) + tensors["conv1_7x7_s2.bias"]
    np.testing.assert_allclose(first[:, 0, 0], want, rtol=1e-4, atol=1e-2)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"inception_3a_1x1.weight": None}, "inception_3a_1x1 is missing or another"),
        ({"inception_3a_1x1_bn.bias": np.zeros(3, np.float32)}, "inception_3a_1x1_bn is missing or another"),
        ({"inception_6a_1x1.weight": np.zeros(3, np.float32)}, r"which has no inception_6a_1x1\.weight"),
    ],
)
def test_another_file_is_refused(tmp_path: pathlib.Path, network: keras.Model, change: dict, words: str):
    tensors = {name: value for name, value in (state() | change).items() if value is not None}
    path = legacy_file(tmp_path / "other.pth", {name: permuted(value) for name, value in tensors.items()})
    before = network.get_weights()
    with pytest.raises(UserError, match=words):
        load_weights(network, path)
    for one, other in zip(before, network.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_keras_is_not_asked_for_what_it_has_not():
    with pytest.raises(UserError, match=r"give the published file: --image_weights=bn_inception-239d2248\.pth"):
        image_backbone("bn_inception", image_size=(SIDE, SIDE), weights="imagenet")
