"""Class probabilities as embeddings: the cosine is the probability of one class, and a saved model answers alike."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.data.feature_pairs import vectors
from xmkeras.models.encoder import Towers
from xmkeras.models.posteriors import PosteriorEmbedding, posterior_towers
from xmkeras.models.vectors import vector_encoder

IMAGES, TEXTS = (side.astype("f4") for side in vectors(np.arange(12) % 3))
BATCH = {"image_features": IMAGES, "text_features": TEXTS}


@pytest.fixture(scope="module")
def parts() -> tuple[Towers, keras.layers.Dense]:
    options = {"embedding_dim": 5, "hidden_dropout": 0.5}
    image = vector_encoder("image", 8, IMAGES, hidden="7", preprocessing="sqrt,fourier", **options)
    towers = Towers({"image": image, "text": vector_encoder("text", 6, TEXTS, **options)})
    head = keras.layers.Dense(3, name="label", dtype="float32")
    head.build((None, 5))
    return towers, head


def embed(towers: Towers) -> list[np.ndarray]:
    return [np.asarray(towers.encode(side, BATCH)[side]) for side in ("image", "text")]


def probabilities(embeddings, head) -> np.ndarray:
    logits = np.asarray(embeddings, np.float64) @ np.asarray(head.kernel, np.float64) + np.asarray(head.bias)
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def test_the_cosine_is_the_probability_of_one_class(parts):
    towers, head = parts
    after = posterior_towers(towers, head)
    assert (after.embedding_dim, after.private_dims, towers.private_dims) == (5, 2, 0)
    assert [encoder.takes for encoder in after.sides.values()] == [side.takes for side in towers.sides.values()]
    images, texts = embed(after)
    for embeddings in (images, texts):
        np.testing.assert_allclose(np.linalg.norm(embeddings, axis=1), 1, atol=1e-6)
    p, q = (probabilities(embeddings, head) for embeddings in embed(towers))
    np.testing.assert_allclose(images @ texts.T, p @ q.T, atol=1e-6)


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
    trained = {id(weight) for part in (towers.named_parts["image_head"], head) for weight in part.weights}
    assert {id(weight) for weight in after.named_parts["image_head"].weights} == trained


def test_a_saved_model_answers_like_the_towers(parts, tmp_path):
    after = posterior_towers(*parts)
    for (side, encoder), expected in zip(after.sides.items(), embed(after), strict=True):
        encoder.as_model(f"{side}_tower").export(tmp_path / side, verbose=False)
        loaded = tf.saved_model.load(str(tmp_path / side))
        answer = loaded.serve(tf.constant(BATCH[f"{side}_features"]))
        np.testing.assert_allclose(answer, expected, atol=1e-5)
