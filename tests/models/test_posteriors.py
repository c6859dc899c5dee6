"""Class probabilities as embeddings: the cosine is the probability of one class, and an export answers alike."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.data.feature_pairs import vectors
from xmkeras.models.features import FeatureInputs, FeatureTowers, build_feature_towers
from xmkeras.models.posteriors import PosteriorEmbedding, posterior_towers
from xmkeras.retrieval.embeddings import EmbeddingSet
from xmkeras.serving.client import SearchModel
from xmkeras.serving.feature_export import export_feature_model

LABELS = np.arange(12) % 3
IMAGES, TEXTS = (side.astype("f4") for side in vectors(LABELS))


@pytest.fixture(scope="module")
def parts() -> tuple[FeatureTowers, keras.layers.Dense]:
    towers = build_feature_towers(
        FeatureInputs((8, 6), (IMAGES, TEXTS)),
        embedding_dim=5,
        image_hidden="7",
        image_preprocessing="sqrt,fourier",
        hidden_dropout=0.5,
    )
    head = keras.layers.Dense(3, name="label", dtype="float32")
    head.build((None, 5))
    return towers, head


def probabilities(embeddings, head) -> np.ndarray:
    logits = np.asarray(embeddings, np.float64) @ np.asarray(head.kernel, np.float64) + np.asarray(head.bias)
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def test_the_cosine_is_the_probability_of_one_class(parts):
    towers, head = parts
    after = posterior_towers(towers, head)
    assert (after.embedding_dim, after.widths, after.private_dims, towers.private_dims) == (5, (8, 6), 2, 0)
    images, texts = after.encode_image_features(IMAGES), after.encode_text_features(TEXTS)
    for embeddings in (images, texts):
        np.testing.assert_allclose(np.linalg.norm(embeddings, axis=1), 1, atol=1e-6)
    p = probabilities(towers.encode_image_features(IMAGES), head)
    q = probabilities(towers.encode_text_features(TEXTS), head)
    np.testing.assert_allclose(np.asarray(images) @ np.asarray(texts).T, p @ q.T, atol=1e-6)


def test_a_certain_item_lacks_nothing():
    layer = PosteriorEmbedding(1)
    np.testing.assert_allclose(layer(np.float32([[90, 0, 0]])), [[1, 0, 0, 0, 0]], atol=1e-6)
    np.testing.assert_allclose(layer(np.float32([[0, 0]])), [[0.5, 0.5, 0, np.sqrt(0.5)]], atol=1e-6)
    again = PosteriorEmbedding.from_config(layer.get_config())
    assert (again.place, again.compute_output_shape((4, 3))) == (1, (4, 5))
    with pytest.raises(ValueError, match="place is 0 or 1, not 2"):
        PosteriorEmbedding(2)


def test_the_weights_are_shared_with_the_towers_that_train(parts):
    towers, head = parts
    after = posterior_towers(towers, head)
    trained = {id(weight) for part in (towers.image_head, head) for weight in part.weights}
    assert {id(weight) for weight in after.image_head.weights} == trained


def test_a_saved_model_answers_like_the_towers(parts, tmp_path):
    after = posterior_towers(*parts)
    ids = np.array([f"item{row}" for row in range(12)])
    images, texts = np.asarray(after.encode_image_features(IMAGES)), np.asarray(after.encode_text_features(TEXTS))
    sets = {"images": EmbeddingSet(ids, LABELS, images), "texts": EmbeddingSet(ids, LABELS, texts)}
    export_feature_model(after, tmp_path, distance="cosine", **sets, top_k=4)
    signatures = SearchModel(tmp_path).signatures
    found = signatures["encode_image_features"](image_features=tf.constant(IMAGES))["embedding"]
    np.testing.assert_allclose(found, images, atol=1e-5)
    pairs = signatures["score"](image_features=tf.constant(IMAGES), text_features=tf.constant(TEXTS))["score"]
    np.testing.assert_allclose(pairs, (images * texts).sum(axis=1), atol=1e-5)
    answer = signatures["search_texts_by_image_features"](image_features=tf.constant(IMAGES))["scores"]
    np.testing.assert_allclose(answer, np.sort(images @ texts.T)[:, :-5:-1], atol=1e-5)
