"""Masked poolings against the published numbers, loop twins, and empty rows."""

from __future__ import annotations

import json
import pathlib

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.reference import pooling as reference
from xmkeras.layers import LastStatePooling, MaskedMaxPooling, MaskedMeanPooling, PaddingMask

GROUP = json.loads((pathlib.Path(__file__).parents[1] / "vectors.json").read_text())["text_max_pool"]


def mask_of(lengths, steps: int) -> np.ndarray:
    return np.arange(steps) < np.array(lengths)[:, None]


@pytest.mark.parametrize(("compat", "expected"), [(False, "masked"), (True, "zero_padded_as_released")])
def test_max_agrees_with_the_published_numbers(compat, expected):
    outputs, lengths = np.array(GROUP["inputs"]["outputs"], "f4"), GROUP["inputs"]["lengths"]
    pooled = MaskedMaxPooling(zero_pad_compat=compat)(outputs, mask=mask_of(lengths, 3))
    np.testing.assert_allclose(pooled.numpy(), GROUP["expected"][expected], atol=1e-5)


@given(
    seed=st.integers(0, 2**31),
    lengths=st.lists(st.integers(1, 6), min_size=1, max_size=4),
    extra=st.integers(0, 2),
)
@settings(max_examples=30, deadline=None)
def test_agrees_with_the_loops(seed, lengths, extra):
    steps = max(lengths) + extra
    x = np.random.default_rng(seed).normal(size=(len(lengths), steps, 4)).astype("f4")
    mask = mask_of(lengths, steps)
    pairs = [
        (MaskedMaxPooling(), reference.max_pool(x, lengths)),
        (MaskedMaxPooling(zero_pad_compat=True), reference.max_pool(x, lengths, zero_pad_compat=True)),
        (MaskedMeanPooling(), reference.mean_pool(x, lengths)),
        (LastStatePooling(), reference.last_pool(x, lengths)),
    ]
    for layer, want in pairs:
        np.testing.assert_allclose(layer(x, mask=mask).numpy(), want, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("layer", [MaskedMaxPooling, MaskedMeanPooling])
def test_a_row_without_tokens_is_zero_with_finite_gradients(layer, dtype):
    x = tf.cast(np.random.default_rng(0).normal(size=(2, 3, 4)), dtype)
    with tf.GradientTape() as tape:
        tape.watch(x)
        pooled = layer(dtype=dtype)(x, mask=mask_of([0, 2], 3))
    assert pooled.dtype == x.dtype
    assert not tf.cast(pooled[0], "float32").numpy().any()
    gradient = tf.cast(tape.gradient(pooled, x), "float32").numpy()
    assert np.isfinite(gradient).all()
    assert not gradient[0].any()
    assert not gradient[1, 2].any()


def test_padding_mask_marks_the_words():
    assert PaddingMask()(np.array([[2, 5, 0]])).numpy().tolist() == [[True, True, False]]


@pytest.mark.parametrize(
    "layer", [MaskedMaxPooling(zero_pad_compat=True), MaskedMeanPooling(), LastStatePooling(), PaddingMask(7)]
)
def test_configuration_round_trip(layer):
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    assert again.get_config() == layer.get_config()
