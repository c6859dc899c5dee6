"""Encoders of feature vectors: shapes, names, statistics as weights, noise, faults."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from tests.data.feature_pairs import vectors
from xmkeras.errors import UserError
from xmkeras.models.encoder import Encoder
from xmkeras.models.vectors import vector_encoder

IMAGES, TEXTS = vectors(np.arange(12) % 3)


def images(**options) -> Encoder:
    return vector_encoder("image", 8, IMAGES, **{"embedding_dim": 5, "hidden": "7,4", **options})


def texts(**options) -> Encoder:
    return vector_encoder("text", 6, TEXTS, **{"embedding_dim": 5, **options})


def embed(encoder: Encoder, training: bool = False) -> np.ndarray:
    """The embeddings of the side's examples."""
    return np.asarray(encoder({"image_features": IMAGES, "text_features": TEXTS}, training)[""])


def part(encoder: Encoder) -> keras.Model:
    """The one model of an encoder."""
    (model,) = encoder.models.values()
    return model


def test_the_default_dimension_is_the_papers():
    def kernels(encoder: Encoder) -> list[tuple[int, ...]]:
        return [layer.kernel.shape for layer in part(encoder).layers if hasattr(layer, "kernel")]

    assert kernels(vector_encoder("image", 4096, hidden="2048,1024")) == [(4096, 2048), (2048, 1024), (1024, 200)]
    assert kernels(vector_encoder("text", 300)) == [(300, 200)]


def test_embeddings():
    assert embed(images()).shape == embed(texts()).shape == (12, 5)
    assert (images().dim, part(images()).name, part(texts()).name) == (5, "image_head", "text_encoder")
    assert images().takes["image_features"].shape == (None, 8)
    assert texts().takes["text_features"].shape == (None, 6)
    assert np.abs(embed(images())).max() <= 1
    np.testing.assert_allclose(np.linalg.norm(embed(images(unit_embeddings=True)), axis=1), 1, atol=1e-5)


def test_the_norm_of_embeddings_centres_each_side():
    for encoder in (side(embedding_norm="batch", norm_momentum=0.0) for side in (images, texts)):
        embed(encoder, training=True)
        np.testing.assert_allclose(embed(encoder).mean(axis=0), 0, atol=1e-5)
        assert not [weight for weight in part(encoder).trainable_weights if "embedding_norm" in weight.path]


def test_statistics_are_weights_that_are_not_trained():
    model = part(images(preprocessing="standardize,l2"))
    assert "standardize_1/offset" in {weight.path for weight in model.weights}
    assert not [weight for weight in model.trainable_weights if "standardize" in weight.path]


def test_noise_acts_in_training_only():
    encoder = images(feature_dropout=0.3, hidden_dropout=0.3, hidden_norm="layer")
    quiet = [embed(encoder) for _ in range(2)]
    np.testing.assert_array_equal(*quiet)
    assert (embed(encoder, training=True) != quiet[0]).any()


def test_names_are_the_same_in_every_build():
    one, two = ([w.path for w in part(images(hidden_norm="batch")).weights] for _ in range(2))
    assert one == two


def test_layer_sizes_are_numbers():
    with pytest.raises(UserError, match="--image_hidden=2k"):
        images(hidden="2k")
