"""Picture encoders whose feature is made of inner maps: what comes out, in one pass, and what is computed once."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from tests.models.plain import plain_backbone, plain_images
from xmkeras.errors import UserError
from xmkeras.models.encoder import Encoder
from xmkeras.models.heads import image_head
from xmkeras.models.image import DEFAULT_MAPS, feature_maps
from xmkeras.models.maps import ATTENTIONS, Fusion, attended, with_maps
from xmkeras.models.towers import picture_encoder

PIXELS = np.random.default_rng(0).uniform(0, 255, (2, 32, 32, 3)).astype("f4")
LAST = np.random.default_rng(1).normal(size=(2, 5)).astype("f4")
MAPS = [np.random.default_rng(2).normal(size=(2, *shape)).astype("f4") for shape in ((4, 4, 3), (2, 2, 6))]


def encoder(fusion: Fusion | None, **options) -> Encoder:
    keras.utils.set_random_seed(0)
    with plain_images():
        return picture_encoder((32, 32), embedding_dim=4, fusion=fusion, **options)


def fused(fusion: Fusion, maps=MAPS) -> np.ndarray:
    head = image_head(5, 4, maps=[one.shape[1:] for one in maps], fusion=fusion)
    return np.asarray(head([LAST, *maps] if maps else LAST)[1])


def test_maps_come_out_of_the_pass_that_makes_the_pooled_features():
    backbone = plain_backbone("mobilenet", image_size=(32, 32), width=1.0, weights="none")
    opened = with_maps(backbone, ("conv", "relu"))
    statistics = next(v for v in opened.variables if v.path.endswith("moving_mean"))
    before = statistics.numpy()
    pooled, _, last = opened(PIXELS, training=True)
    inner = keras.Model(backbone.input, feature_maps(backbone, "conv"))(PIXELS)
    mean = np.asarray(inner).mean((0, 1, 2))
    np.testing.assert_allclose(statistics.numpy(), 0.99 * before + 0.01 * mean, rtol=1e-4, atol=1e-6)  # moved once
    np.testing.assert_allclose(pooled, np.asarray(last).mean((1, 2)), rtol=1e-5)
    np.testing.assert_allclose(opened(PIXELS)[0], backbone(PIXELS), rtol=1e-5)
    assert [v.path for v in opened.variables] == [v.path for v in backbone.variables]


@pytest.mark.parametrize("attention", ATTENTIONS)
def test_pooled_maps_lie_side_by_side(attention: str):
    both = fused(Fusion(("a", "b"), attention))
    assert both.shape == (2, 3 + 6)
    with_last = fused(Fusion(("a", "b"), attention, include_last=True))
    np.testing.assert_array_equal(with_last[:, 9:], LAST)
    if attention == "mean":
        np.testing.assert_allclose(both, np.concatenate([one.mean((1, 2)) for one in MAPS], 1), rtol=1e-5)


def test_each_map_has_an_attention_of_its_own():
    head = image_head(5, 4, maps=[one.shape[1:] for one in MAPS], fusion=Fusion(("a", "b")))
    _, features = head([LAST, *MAPS])
    for number, (one, begin) in enumerate(zip(MAPS, (0, 3), strict=True), 1):
        weights = np.asarray(head.get_layer(f"attention_{number}").weights_of(one, LAST))
        want = np.sum(weights * one.reshape(2, -1, one.shape[-1]), axis=1)
        np.testing.assert_allclose(features[:, begin : begin + one.shape[-1]], want, rtol=1e-5, atol=1e-6)


def test_without_maps_the_feature_is_the_pooled_one():
    np.testing.assert_array_equal(fused(Fusion(()), []), LAST)
    given, plain = encoder(Fusion(())), encoder(None)
    np.testing.assert_array_equal(given({"image": PIXELS})[""], plain({"image": PIXELS})[""])
    assert (given.width(), given.width("features")) == (4, 32)
    assert set(plain({"image": PIXELS})) == {""}


def test_the_feature_is_that_before_dropout():
    head = image_head(5, 4, fusion=Fusion(()), dropout=0.5)
    np.testing.assert_array_equal(head(LAST, training=True)[1], LAST)


def test_a_frozen_backbone_is_a_front_with_its_maps():
    made = encoder(Fusion(("relu",)))
    assert made.front() is None
    made.models["image_backbone"].trainable = False
    entries = made.front()({"image": PIXELS})
    assert {name: value.shape[1:] for name, value in entries.items()} == {
        "image_features": (32,),
        "image_map/relu": (7, 7, 32),
    }
    whole = made({"image": PIXELS})
    for name, value in made(entries).items():
        np.testing.assert_array_equal(value, whole[name])


@pytest.mark.parametrize("kind", ["additive", "multi_dimensional"])
def test_where_attention_looks_is_what_it_weights_by(kind: str):
    made = encoder(Fusion(("relu",), kind))
    (weights,) = attended(made, {"image": PIXELS}).values()
    np.testing.assert_allclose(np.sum(weights, axis=(1, 2)), 1, rtol=1e-5)
    entries = made.before_last({"image": PIXELS})
    layer = made.parts[-1].model.get_layer("attention_1")
    want = layer.weights_of(entries["image_map/relu"], entries["image_features"])
    np.testing.assert_allclose(weights, np.mean(want, axis=-1).reshape(weights.shape), rtol=1e-5)
    assert attended(encoder(Fusion(("relu",), "mean")), {"image": PIXELS}) == {}


def test_auto_takes_two_maps_of_each_tower_and_the_papers_of_its_own():
    for tower, maps in DEFAULT_MAPS.items():
        if tower != "bn_inception":
            assert Fusion().names(tower) == maps[-2:]
    assert Fusion().names("bn_inception") == ("inception_4d_output", "inception_4e_output", "inception_5b_output")


def test_an_unknown_map_is_named():
    with pytest.raises(UserError, match="no feature map 'conv_9'"):
        encoder(Fusion(("conv_9",)))
