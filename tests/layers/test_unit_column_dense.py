"""Unit-column class weights: logits, scale and serialisation."""

from __future__ import annotations

import json
import pathlib

import keras
import numpy as np
import pytest

from xmkeras.layers import UnitColumnDense

GROUP = json.loads((pathlib.Path(__file__).parents[1] / "vectors.json").read_text())["cmpc"]["inputs"]


@pytest.mark.parametrize("scale", [1.0, 4.0])
def test_logits_are_scaled_projections_on_the_columns(scale):
    image, weights = np.array(GROUP["image"], "f4"), np.array(GROUP["W"], "f4")
    layer = UnitColumnDense(3, scale=scale)
    layer.build((None, 3))
    layer.set_weights([weights])
    want = scale * image @ (weights / np.linalg.norm(weights, axis=0))
    np.testing.assert_allclose(layer(image).numpy(), want, rtol=1e-5)


def test_a_zero_column_gives_zero_logits():
    layer = UnitColumnDense(2)
    layer.build((None, 3))
    layer.set_weights([np.zeros((3, 2))])
    assert not layer(np.ones((4, 3))).numpy().any()


def test_configuration_round_trip():
    layer = UnitColumnDense(5, scale=2.0, name="classes")
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    assert again.get_config() == layer.get_config()
