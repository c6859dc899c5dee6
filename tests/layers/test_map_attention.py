"""Attention over feature maps against the published numbers, a loop twin, and a saved model."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from tests.losses.checks import agree, array, vectors
from tests.reference import attention as reference
from xmkeras.layers import MapAttention

MAP, U, W1, W2, SMALL_W, LARGE_W, EXPECTED = vectors("attention", "feature_map_HWC", "u", "W1", "W2", "w", "W_multi")
BY_NAME = {"W1": W1, "W2": W2, "w": SMALL_W[:, None], "W": LARGE_W}
VARIANTS = [
    ("additive", {}),
    ("additive_full", {}),
    ("multiplicative", {}),
    ("multiplicative", {"project_features": True}),
    ("multi_dimensional", {}),
    ("multi_dimensional", {"axis": "features"}),
]


def layer_with(weights, kind, **options):
    layer = MapAttention(kind, **options)
    layer.build([(None, 2, 2, 3), (None, 4)])
    for variable in layer.weights:
        variable.assign(weights[variable.name])
    return layer


@pytest.mark.parametrize(
    ("kind", "options", "name"),
    [
        ("additive", {}, "additive_p"),
        ("additive_full", {}, "additive_full_p"),
        ("multiplicative", {}, "multiplicative_p"),
        ("multi_dimensional", {}, "multidim_softmax_over_positions"),
        ("multi_dimensional", {"axis": "features"}, "multidim_softmax_over_features_as_printed"),
    ],
)
def test_pooled_features_agree_with_the_published_numbers(kind, options, name):
    agree(layer_with(BY_NAME, kind, **options)([MAP[None], U[None]])[0], EXPECTED[name])


@pytest.mark.parametrize("kind", ["additive", "multiplicative"])
def test_weights_agree_with_the_published_numbers(kind):
    weights = layer_with(BY_NAME, kind).weights_of(MAP[None], U[None])
    agree(weights[0, :, 0], EXPECTED[f"{kind}_weights"])


@pytest.mark.parametrize(("kind", "options"), VARIANTS)
def test_agrees_with_the_loops_position_by_position(kind, options):
    random = np.random.default_rng(0)
    weights = {name: random.normal(0, 1, value.shape) for name, value in BY_NAME.items()}
    layer = layer_with(weights, kind, **options)
    maps, us = random.normal(0, 1, (5, 2, 2, 3)), random.normal(0, 1, (5, 4))
    used = {variable.name: weights[variable.name] for variable in layer.weights}
    used = {name: value[:, 0] if name == "w" else value for name, value in used.items()}
    want = [reference.pool(m, u, kind, used, options.get("axis", "positions")) for m, u in zip(maps, us, strict=True)]
    agree(layer([maps, us]), want, 1e-5, 1e-5)


@pytest.mark.parametrize(("kind", "options"), [*VARIANTS, ("additive", {"use_bias": True, "activation": "relu"})])
def test_a_saved_model_gives_the_same(kind, options, tmp_path):
    inputs = keras.Input((2, 2, 3)), keras.Input((4,))
    model = keras.Model(inputs, MapAttention(kind, **options)(list(inputs)))
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    batch = [MAP[None].astype("f4"), U[None].astype("f4")]
    agree(again(batch), array(model(batch)), 0, 0)
    assert again.layers[-1].get_config() == model.layers[-1].get_config()


def test_half_precision_comes_back_but_is_not_used_inside():
    layer = MapAttention(dtype="mixed_float16")
    pooled = layer([100 * MAP[None], U[None]])
    assert keras.backend.standardize_dtype(pooled.dtype) == "float16"
    assert np.isfinite(array(pooled)).all()


@pytest.mark.parametrize("options", [{"kind": "dot"}, {"axis": "channels"}])
def test_unknown_choices_are_named(options):
    with pytest.raises(ValueError, match="must be one of"):
        MapAttention(**options)
