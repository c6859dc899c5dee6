"""A backbone cut where its frozen layers end computes and trains what the whole one does."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from tests.models.plain import plain_backbone
from xmkeras.models.cutting import cut, frozen_end
from xmkeras.models.encoder import Part
from xmkeras.models.image import image_backbone
from xmkeras.models.maps import with_maps

SIDE = 64
PIXELS = np.random.default_rng(0).uniform(0, 255, (2, SIDE, SIDE, 3)).astype(np.float32)


def frozen(backbone: keras.Model, *begin: str) -> keras.Model:
    """With the layers frozen whose names begin so."""
    for layer in next(layer for layer in backbone.layers if isinstance(layer, keras.Model)).layers:
        layer.trainable = not layer.name.startswith(begin)
    return backbone


@pytest.fixture(scope="module")
def lite() -> keras.Model:
    return image_backbone("efficientnet_lite0", image_size=(SIDE, SIDE))


@pytest.fixture(scope="module")
def mobile() -> keras.Model:
    return image_backbone("mobilenet", image_size=(SIDE, SIDE), width=0.25)


# Inside a block only what lies beside no shortcut is an end.
@pytest.mark.parametrize(
    ("begin", "end"),
    [
        (("stem", "block1", "block2", "block3", "block4"), "block4c_add"),
        (("stem", "block1", "block2", "block3", "block4", "block5a", "block5b_expand"), "block5a_project_bn"),
        (("stem", "block1", "block2", "block3", "block4c"), "block3b_add"),
        (("block",), None),
        ((), None),
    ],
)
def test_the_end_is_the_last_before_what_trains(lite: keras.Model, begin: tuple[str, ...], end: str | None):
    frozen(lite, *begin) if begin else frozen(lite, "nothing")
    assert frozen_end(lite) == end


def test_a_norm_that_moves_is_not_frozen(mobile: keras.Model):
    frozen(mobile, "conv")
    network = mobile.get_layer("mobilenet")
    network.get_layer("conv_pw_3_bn").trainable = True
    for weight in network.get_layer("conv_pw_3_bn").weights:
        weight.trainable = False
    assert frozen_end(mobile) == "conv_pw_3"


def test_a_map_larger_than_the_picture_is_not_kept():
    backbone = frozen(image_backbone("mobilenet", image_size=(32, 32), width=1.0), "conv1", "conv_pad_2", "conv_dw_2")
    assert frozen_end(backbone) is None


@pytest.mark.parametrize(
    ("tower", "end", "maps"),
    [
        ("lite", "block4c_add", ("block5c_add", "head_relu")),
        ("lite", "block5c_add", ("block5c_add", "head_relu")),
        # A map from before the cut is made by the front and handed on.
        ("lite", "block5c_add", ("block3b_add", "head_relu")),
        ("lite", "block4c_add", ()),
        ("mobile", "conv_pw_6_relu", ("conv_pw_11_relu", "conv_pw_13_relu")),
    ],
)
def test_the_halves_are_the_whole(request: pytest.FixtureRequest, tower: str, end: str, maps: tuple[str, ...]):
    backbone = request.getfixturevalue(tower)
    whole = with_maps(backbone, maps) if maps else backbone
    want = whole(PIXELS)
    front, rest = cut(whole, end)
    between = front(PIXELS)
    assert len(rest.inputs) == (2 if "block3b_add" in maps else 1)
    given = rest(between)
    for one, other in zip(*(value if isinstance(value, list) else [value] for value in (given, want)), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)
    names = {weight.path for weight in whole.weights}
    assert {weight.path for weight in [*front.weights, *rest.weights]} <= names
    assert len({id(weight) for weight in [*front.weights, *rest.weights]}) == len(whole.weights)


def test_a_part_goes_on_from_its_frozen_piece():
    backbone = frozen(plain_backbone("plain", image_size=(SIDE, SIDE), width=1.0, weights="none"), "conv")
    part = Part(backbone, ("image",), ("image_features",), divisible=True)
    piece = part.frozen_piece()
    assert piece.gives == ("image_cut/conv",)
    rest = part.rest(piece.gives)
    assert rest is part.rest(piece.gives)
    assert rest.takes == piece.gives
    whole, pieces = part({"image": PIXELS}, training=True), rest(piece({"image": PIXELS}), training=True)
    np.testing.assert_allclose(pieces["image_features"], whole["image_features"], atol=1e-6)
    assert part.rest(["image", "image_features"]) is None
    assert Part(backbone, ("image",), ("image_features",)).frozen_piece() is None
