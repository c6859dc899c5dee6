"""Fused batch norm against that of Keras: values, gradients, statistics, precision."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from xmkeras.models.batch_norm import BatchNormalization, with_folded_batch_norm, with_fused_batch_norm
from xmkeras.models.image import batch_norms

SHAPE = (6, 5, 4, 8)


def twins(dtype: str = "float32") -> list[keras.layers.BatchNormalization]:
    random = np.random.default_rng(0)
    weights = [random.uniform(0.5, 1.5, 8) for _ in range(4)]
    layers = [
        kind(momentum=0.9, epsilon=1e-3, dtype=dtype)
        for kind in (BatchNormalization, keras.layers.BatchNormalization)
    ]
    for layer in layers:
        layer.build(SHAPE)
        layer.set_weights(weights)
    return layers


def run(layer, x, training: bool):
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = layer(x, training=training)
        loss = tf.reduce_sum(y * tf.cast(np.random.default_rng(1).normal(size=SHAPE), y.dtype))
    return y, tape.gradient(loss, [x, layer.gamma.value, layer.beta.value])


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-4), ("mixed_bfloat16", 0.05)])
def test_agrees_with_keras(training, dtype, tolerance):
    x = tf.constant(np.random.default_rng(2).normal(3, 2, SHAPE), "float32")
    fused, plain = twins(dtype)
    (got, got_gradients), (want, want_gradients) = run(fused, x, training), run(plain, x, training)
    assert got.dtype == want.dtype
    for a, b in zip([got, *got_gradients], [want, *want_gradients], strict=True):
        b = tf.cast(b, "float32").numpy()
        np.testing.assert_allclose(tf.cast(a, "float32").numpy(), b, atol=tolerance * np.abs(b).max())
    for a, b in zip(fused.weights, plain.weights, strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=max(1e-5, tolerance / 10))


def test_a_frozen_layer_keeps_its_statistics():
    fused, _ = twins()
    before = fused.get_weights()
    fused.trainable = False
    fused(np.ones(SHAPE, "f4"), training=True)
    for a, b in zip(fused.get_weights(), before, strict=True):
        np.testing.assert_array_equal(a, b)


def test_one_position_of_one_image_has_no_variance_and_stays_finite():
    layer = BatchNormalization(momentum=0.5)
    y = layer(np.full((1, 1, 1, 3), 7, "f4"), training=True)
    np.testing.assert_allclose(y.numpy(), 0, atol=1e-5)
    np.testing.assert_allclose(layer.moving_variance.numpy(), 0.5)


def test_a_network_keeps_names_weights_and_outputs():
    inputs = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(4, 3, name="conv")(inputs)
    outputs = keras.layers.BatchNormalization(name="norm", momentum=0.8)(x)
    network = keras.Model(inputs, outputs, name="network")
    fused = with_fused_batch_norm(network)
    assert [v.path for v in fused.variables] == [v.path for v in network.variables]
    assert fused.name == "network"
    assert fused.get_layer("norm").momentum == 0.8
    images = np.random.default_rng(0).normal(size=(2, 8, 8, 3)).astype("f4")
    np.testing.assert_allclose(fused(images).numpy(), network(images).numpy(), atol=1e-5)


def test_weight_files_are_exchanged_with_keras_applications(tmp_path):
    network = keras.applications.MobileNet(
        input_shape=(32, 32, 3), alpha=0.25, include_top=False, weights=None
    )
    with_fused_batch_norm(network).save_weights(tmp_path / "fused.weights.h5")
    other = keras.applications.MobileNet(input_shape=(32, 32, 3), alpha=0.25, include_top=False, weights=None)
    other.load_weights(tmp_path / "fused.weights.h5")
    for a, b in zip(other.get_weights(), network.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def norm(seed: int, kind: type = BatchNormalization, **options):
    """A batch norm that does something."""
    random = np.random.default_rng(seed)

    def normed(x: keras.KerasTensor) -> keras.KerasTensor:
        layer = kind(**options)
        made = layer(x)
        layer.set_weights([random.uniform(0.5, 1.5, weight.shape) for weight in layer.weights])
        return made

    return normed


def test_only_what_a_norm_alone_reads_is_folded():
    image = keras.Input((8, 8, 3), name="image")
    plain, layers = keras.layers.BatchNormalization, keras.layers
    x = norm(0, name="folded_1")(layers.Conv2D(4, 3, bias_initializer="ones")(image))
    y = norm(1, plain, scale=False, name="folded_2")(layers.DepthwiseConv2D(3, depth_multiplier=2, padding="same")(x))
    shared = layers.Conv2D(8, 1)
    twice = layers.Add()([norm(2, name="kept_1")(shared(x)), norm(3, name="kept_2")(shared(x))])
    active = norm(4, name="kept_3")(layers.Conv2D(8, 1, activation="relu", name="active")(layers.Add()([twice, y])))
    half = norm(5, dtype="float32", name="kept_4")(layers.Conv2D(4, 1, dtype="mixed_bfloat16")(active))
    shown = layers.Conv2D(4, 1)(half)
    pooled = layers.GlobalAveragePooling2D()(norm(6, plain, center=False, name="kept_5")(shown))
    made = norm(7, plain, name="folded_3")(layers.Dense(4, use_bias=False)(pooled))
    model = keras.Model({"image": image}, {"shown": shown, "made": made}, name="model")
    folded = with_folded_batch_norm(model)
    assert [layer.name for layer in batch_norms(folded)] == [f"kept_{number}" for number in range(1, 6)]
    pixels = {"image": np.random.default_rng(0).normal(size=(2, 8, 8, 3)).astype("f4")}
    made, want = folded(pixels), model(pixels)
    for name in ("shown", "made"):
        assert np.std(want[name]) > 0.01
        np.testing.assert_allclose(made[name], want[name], rtol=1e-3, atol=1e-3)
    assert folded.get_layer("active") is model.get_layer("active")
    assert with_folded_batch_norm(folded) is folded


def test_folding_draws_no_random_numbers():
    image = keras.Input((8, 8, 3))
    network = keras.Model(image, norm(0)(keras.layers.Conv2D(4, 3)(image)))
    drawn = []
    for fold in (True, False):
        keras.utils.set_random_seed(3)
        if fold:
            assert with_folded_batch_norm(network) is not network
        drawn.append(keras.layers.Dense(2, name="dense")(np.ones((1, 3))).numpy())
    np.testing.assert_array_equal(*drawn)
