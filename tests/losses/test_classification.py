"""The classification losses against the published numbers, loop twins, and degenerate inputs."""

from __future__ import annotations

import json
import pathlib

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.reference import matching
from xmkeras.losses import classification

GROUP = json.loads((pathlib.Path(__file__).parents[1] / "vectors.json").read_text())["cmpc"]
IMAGE, TEXT, LABELS, WEIGHTS, BIAS = (
    np.array(GROUP["inputs"][k]) for k in ("image", "text", "labels", "W", "bias")
)
EXPECTED = GROUP["expected"]


def close(value, expected) -> None:
    np.testing.assert_allclose(value.numpy(), expected, rtol=1e-5)


def random_inputs(seed: int, n: int, d: int, classes: int):
    random = np.random.default_rng(seed)
    image, text = random.normal(0, 2, (2, n, d))
    return (
        image,
        text,
        random.integers(0, classes, n),
        random.normal(0, 1, (d, classes)),
        random.normal(0, 1, classes),
    )


def test_cmpc_agrees_with_the_published_terms():
    image_on_text, text_on_image = classification.cmpc_terms(IMAGE, TEXT, LABELS, WEIGHTS)
    close(image_on_text, EXPECTED["ipt"])
    close(text_on_image, EXPECTED["tpi"])
    close(classification.cmpc(IMAGE, TEXT, LABELS, WEIGHTS), EXPECTED["total"])
    close(classification.cmpc(IMAGE, TEXT, LABELS, WEIGHTS, scale=2.0), EXPECTED["total_r2"])


def test_norm_softmax_agrees_and_normalises_columns():
    close(classification.norm_softmax(IMAGE, LABELS, WEIGHTS), EXPECTED["norm_softmax_image"])
    close(classification.norm_softmax(TEXT, LABELS, WEIGHTS), EXPECTED["norm_softmax_text"])
    close(classification.norm_softmax(IMAGE, LABELS, WEIGHTS, BIAS), EXPECTED["norm_softmax_image_bias"])
    value = classification.norm_softmax(IMAGE, LABELS, WEIGHTS).numpy()
    assert abs(value - EXPECTED["wrong_axis_image"]) > 0.05


def test_plain_softmax_agrees():
    # The published value has a bias.
    close(classification.softmax_loss(IMAGE, LABELS, WEIGHTS, BIAS), EXPECTED["plain_softmax_image"])


@given(seed=st.integers(0, 2**31), n=st.integers(1, 6), d=st.integers(1, 6), classes=st.integers(1, 6))
@settings(max_examples=40, deadline=None)
def test_agrees_with_the_loops(seed, n, d, classes):
    image, text, labels, weights, bias = random_inputs(seed, n, d, classes)
    pairs = [
        (
            classification.softmax_loss(image, labels, weights, bias),
            matching.softmax_loss(image, labels, weights, bias),
        ),
        (
            classification.norm_softmax(text, labels, weights, bias, 3.0),
            matching.norm_softmax(text, labels, weights, bias, 3.0),
        ),
        (
            classification.cmpc(image, text, labels, weights, scale=2.0),
            sum(matching.cmpc_terms(image, text, labels, weights, 2.0)),
        ),
        (
            classification.projection_softmax(image, text, labels, weights, bias),
            matching.softmax_loss(matching.project(image, text), labels, weights, bias)
            + matching.softmax_loss(matching.project(text, image), labels, weights, bias),
        ),
    ]
    for got, want in pairs:
        np.testing.assert_allclose(got.numpy(), want, rtol=2e-5, atol=2e-5)


def test_gradients_agree_with_differences_of_the_loops():
    image, text, labels, weights, _ = random_inputs(5, 4, 3, 3)
    inputs = [tf.constant(x, "float32") for x in (image, text, weights)]
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        loss = classification.cmpc(inputs[0], inputs[1], labels, inputs[2])
    step = 1e-6
    for which, gradient in enumerate(tape.gradient(loss, inputs)):
        arrays = [image, text, weights]
        for index in np.ndindex(arrays[which].shape):
            around = []
            for sign in (1, -1):
                moved = [a.copy() for a in arrays]
                moved[which][index] += sign * step
                around.append(sum(matching.cmpc_terms(moved[0], moved[1], labels, moved[2])))
            np.testing.assert_allclose(
                gradient.numpy()[index], (around[0] - around[1]) / (2 * step), atol=1e-5
            )


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("norm", [0.0, 1.0, 1e4])
@pytest.mark.parametrize(("n", "classes"), [(1, 1), (4, 1), (4, 3)])
@pytest.mark.parametrize("loss", ["softmax_loss", "norm_softmax", "projection_softmax", "cmpc"])
def test_degenerate_inputs_have_finite_values_and_gradients(loss, n, classes, norm, dtype):
    image, text, labels, weights, _ = random_inputs(7, n, 8, classes)
    image, text = (norm * x / np.linalg.norm(x, axis=1, keepdims=True) for x in (image, text))
    embeddings = [
        tf.cast(x, dtype) for x in ((image, text) if loss in ("projection_softmax", "cmpc") else (image,))
    ]
    weights = tf.cast(weights, dtype)
    with tf.GradientTape() as tape:
        tape.watch([*embeddings, weights])
        value = getattr(classification, loss)(*embeddings, labels, weights)
    assert value.dtype == tf.float32
    assert np.isfinite(value.numpy())
    for gradient in tape.gradient(value, [*embeddings, weights]):
        assert np.isfinite(tf.cast(gradient, "float32").numpy()).all()


def test_zero_class_weights_are_finite():
    image, text, labels, weights, _ = random_inputs(8, 4, 3, 3)
    kernel = tf.Variable(np.zeros_like(weights), dtype="float32")
    with tf.GradientTape() as tape:
        value = classification.cmpc(image, text, labels, kernel)
    assert np.isfinite(value.numpy())
    assert np.isfinite(tape.gradient(value, kernel).numpy()).all()
