"""Feature towers: shapes, names, statistics as weights, noise, faults."""

from __future__ import annotations

import numpy as np
import pytest

from tests.data.feature_pairs import vectors
from xmkeras.errors import UserError
from xmkeras.models.features import FeatureInputs, build_feature_towers

EXAMPLES = vectors(np.arange(12) % 3)


def build(**options):
    options = {"embedding_dim": 5, "image_hidden": "7,4", **options}
    return build_feature_towers(FeatureInputs((8, 6), EXAMPLES), **options)


def test_the_defaults_are_the_papers():
    towers = build_feature_towers(FeatureInputs((4096, 300)))
    kernels = [layer.kernel.shape for layer in towers.image_head.layers if hasattr(layer, "kernel")]
    assert kernels == [(4096, 2048), (2048, 1024), (1024, 200)]
    assert [layer.kernel.shape for layer in towers.text_encoder.layers if hasattr(layer, "kernel")] == [(300, 200)]


def test_embeddings():
    towers = build()
    images, texts = towers.encode_image_features(EXAMPLES[0]), towers.encode_text_features(EXAMPLES[1])
    assert images.shape == texts.shape == (12, 5)
    assert (towers.embedding_dim, towers.widths) == (5, (8, 6))
    assert float(abs(np.asarray(images)).max()) <= 1
    unit = build(unit_embeddings=True).encode_image_features(EXAMPLES[0])
    np.testing.assert_allclose(np.linalg.norm(unit, axis=1), 1, atol=1e-5)


def test_the_norm_of_embeddings_centres_each_modality():
    towers = build(embedding_norm="batch", norm_momentum=0.0)
    for side, encode in enumerate((towers.encode_image_features, towers.encode_text_features)):
        encode(EXAMPLES[side], training=True)
        embeddings = np.asarray(encode(EXAMPLES[side]))
        np.testing.assert_allclose(embeddings.mean(axis=0), 0, atol=1e-5)
    assert not [weight for weight in towers.image_head.trainable_weights if "embedding_norm" in weight.path]


def test_statistics_are_weights_that_are_not_trained():
    towers = build(image_preprocessing="standardize,l2")
    names = {weight.path for weight in towers.image_head.weights}
    assert "standardize_1/offset" in names
    assert not [weight for weight in towers.image_head.trainable_weights if "standardize" in weight.path]


def test_noise_acts_in_training_only():
    towers = build(feature_dropout=0.3, hidden_dropout=0.3, hidden_norm="layer")
    quiet = [np.asarray(towers.encode_image_features(EXAMPLES[0])) for _ in range(2)]
    np.testing.assert_array_equal(*quiet)
    assert (np.asarray(towers.encode_image_features(EXAMPLES[0], training=True)) != quiet[0]).any()


def test_names_are_the_same_in_every_build():
    one, two = ([w.path for w in build(hidden_norm="batch").image_head.weights] for _ in range(2))
    assert one == two


def test_layer_sizes_are_numbers():
    with pytest.raises(UserError, match="--image_hidden=2k"):
        build(image_hidden="2k")


def test_widths_are_kept_in_json():
    assert FeatureInputs.from_json(FeatureInputs((8, 6), EXAMPLES).to_json()) == FeatureInputs((8, 6))
