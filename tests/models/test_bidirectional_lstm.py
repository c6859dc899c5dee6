"""The loop over both directions against loops written out, and against the layers of Keras."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.reference import lstm as reference
from xmkeras.models.bidirectional_lstm import BidirectionalLSTM

WIDTH, UNITS = 4, 3
# Of the last, items times steps pass the size from which on the product of the weights' gradient is turned.
SIZES = [(3, 5), (1, 5), (4, 1), (90, 12)]


def inputs(batch: int, steps: int) -> tuple[tf.Tensor, tf.Tensor]:
    draw = np.random.default_rng(0)
    x = draw.normal(size=(batch, steps, WIDTH)).astype("f4")
    # With gaps, which captions do not have, and a sequence of nothing.
    mask = draw.uniform(size=(batch, steps)) < 0.7
    mask[1:2] = False
    return tf.constant(x), tf.constant(mask)


def twins(**kwargs) -> tuple[BidirectionalLSTM, keras.layers.Bidirectional]:
    inner = keras.layers.LSTM(UNITS, return_sequences=True, name="lstm")
    ours, theirs = (
        BidirectionalLSTM(UNITS, name="both", **kwargs),
        keras.layers.Bidirectional(inner, name="both", **kwargs),
    )
    for layer in (ours, theirs):
        layer.build((None, None, WIDTH))
    draw = np.random.default_rng(1)
    ours.set_weights([draw.normal(size=weight.shape).astype("f4") for weight in theirs.get_weights()])
    theirs.set_weights(ours.get_weights())
    return ours, theirs


def outputs_and_gradients(layer: keras.layers.Layer, x: tf.Tensor, mask: tf.Tensor | None, **how) -> list[np.ndarray]:
    """What a training step sees: outputs, and the gradients with respect to the inputs and all weights."""

    # Sizes that are not known before, as in training; XLA needs them.
    @tf.function(input_signature=None if how else [tf.TensorSpec((None, None, WIDTH))], **how)
    def step(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            outputs = layer(x, mask=mask, training=True)
            loss = tf.reduce_sum(tf.sin(3 * tf.cast(outputs, "float32")))
        return outputs, *tape.gradient(loss, [x, *layer.trainable_variables])

    return [value.numpy() for value in step(x)]


def test_agrees_with_loops_in_both_directions():
    x, _ = inputs(3, 5)
    mask = np.arange(5) < np.array(LENGTHS := [5, 1, 3])[:, None]
    layer, _ = twins()
    outputs = layer(x, mask=mask).numpy()
    weights = [w.astype("f8") for w in layer.get_weights()]
    for got, want in zip(outputs, reference.bidirectional(x.numpy(), LENGTHS, weights[:3], weights[3:]), strict=True):
        np.testing.assert_allclose(got[: len(want)], want, atol=1e-6)


@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.parametrize(("batch", "steps"), SIZES)
def test_trains_as_the_layers_of_keras_do(batch: int, steps: int, masked: bool):
    x, mask = inputs(batch, steps)
    ours, theirs = twins()
    pairs = zip(
        outputs_and_gradients(ours, x, mask if masked else None),
        outputs_and_gradients(theirs, x, mask if masked else None),
        strict=True,
    )
    for got, want in pairs:
        np.testing.assert_allclose(got, want, atol=1e-6 * max(1, np.abs(want).max()), rtol=1e-5)


@pytest.mark.parametrize(("batch", "steps"), SIZES)
def test_infers_as_the_layers_of_keras_do(batch: int, steps: int):
    x, mask = inputs(batch, steps)
    ours, theirs = twins()
    np.testing.assert_allclose(ours(x, mask=mask, training=False), theirs(x, mask=mask, training=False), atol=1e-6)


def test_of_no_sequences_gives_none():
    assert twins()[0](tf.zeros((0, 5, WIDTH)), training=False).shape == (0, 5, 2 * UNITS)


def test_inference_has_a_gradient_too():
    x, mask = inputs(3, 5)
    found = []
    for layer in twins():
        with tf.GradientTape() as tape:
            tape.watch(x)
            total = tf.reduce_sum(tf.sin(layer(x, mask=mask, training=False)))
        found.append(tape.gradient(total, x))
    np.testing.assert_allclose(*found, atol=1e-6)


def test_compiled_by_xla_it_trains_the_same():
    x, mask = inputs(3, 5)
    layer, _ = twins()
    for got, want in zip(
        outputs_and_gradients(layer, x, mask, jit_compile=True), outputs_and_gradients(layer, x, mask), strict=True
    ):
        np.testing.assert_allclose(got, want, atol=1e-5)


@pytest.mark.parametrize("precision", ["mixed_float16", "mixed_bfloat16"])
def test_in_half_precision_it_is_near(precision: str):
    x, mask = inputs(3, 5)
    full, _ = twins()
    half = BidirectionalLSTM(UNITS, dtype=precision)
    half.build((None, None, WIDTH))
    half.set_weights(full.get_weights())
    outputs, *found = outputs_and_gradients(half, x, mask)
    assert outputs.dtype == keras.dtype_policies.get(precision).compute_dtype
    _, *wanted = outputs_and_gradients(full, x, mask)
    for got, want in zip(found, wanted, strict=True):
        np.testing.assert_allclose(got, want, atol=0.08 * np.abs(want).max())


def test_variables_have_the_names_of_the_layers_of_keras():
    ours, theirs = twins()
    of_keras = [v.path for v in theirs.variables if "seed" not in v.path]
    assert [v.path for v in ours.variables] == of_keras


def test_goes_through_a_saved_model_and_its_config(tmp_path):
    sequences, mask = keras.Input((None, WIDTH)), keras.Input((None,), dtype="bool")
    model = keras.Model([sequences, mask], BidirectionalLSTM(UNITS)(sequences, mask=mask))
    x, there = inputs(3, 5)
    want = model([x, there]).numpy()
    model.save(tmp_path / "model.keras")
    np.testing.assert_array_equal(keras.saving.load_model(tmp_path / "model.keras")([x, there]), want)
    model.export(tmp_path / "served", verbose=False)
    served = tf.saved_model.load(str(tmp_path / "served"))
    np.testing.assert_allclose(served.serve([x, there]), want, atol=1e-6)


def test_length_and_batch_are_known_where_they_were_known():
    assert BidirectionalLSTM(UNITS)(keras.Input((7, WIDTH), batch_size=2)).shape == (2, 7, 2 * UNITS)
    assert BidirectionalLSTM(UNITS)(keras.Input((None, WIDTH))).shape == (None, None, 2 * UNITS)


def test_a_policy_of_its_own_reaches_both_directions():
    layer = BidirectionalLSTM(UNITS, dtype="mixed_float16")
    again = BidirectionalLSTM.from_config(layer.get_config())
    for one in (layer, again):
        inner = (one.forward_layer, one.backward_layer)
        assert {one.compute_dtype, *(part.compute_dtype for part in inner)} == {"float16"}
