"""The encoders of pictures and sentences: composition, names, and saving each alone."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.models.tiny import CAPTIONS, tiny_towers, tokenizer
from tests.models.tiny_bert import tiny_bert
from xmkeras.models.towers import bert_encoder
from xmkeras.serving.signatures import named_weights

NOISE = {"dropout": 0.1, "word_dropout": 0.1, "image_dropout": 0.1}


@pytest.fixture(scope="module")
def towers():
    built = tiny_towers(**NOISE)
    for _ in range(3):  # The inference outputs of an untrained MobileNet vanish.
        built.encode("image", {"image": pixels(8)}, training=True)
    return built


def pixels(n: int) -> np.ndarray:
    return np.random.default_rng(n).uniform(0, 255, (n, 32, 32, 3)).astype("f4")


def test_a_tower_is_the_composition_of_its_parts(towers):
    backbone, head = (towers.named_parts[name] for name in ("image_backbone", "image_head"))
    features = backbone(pixels(3))
    whole = towers.encode("image", {"image": pixels(3)})
    np.testing.assert_allclose(whole["image"], head(features), atol=1e-5)
    np.testing.assert_allclose(whole["image"], towers.encode("image", {"image_features": features})["image"], atol=1e-5)
    ids = tokenizer()(tf.constant(CAPTIONS))
    texts = towers.encode("text", {"text": ids})["text"]
    np.testing.assert_allclose(texts, towers.named_parts["text_encoder"](ids), atol=1e-6)
    assert texts.shape == (4, 8)


def test_training_reaches_the_noise(towers):
    images, texts = {"image": pixels(4)}, {"text": tokenizer()(tf.constant(CAPTIONS))}
    for side, batch in (("image", images), ("text", texts)):
        trained = towers.encode(side, batch, training=True)[side]
        assert (trained != towers.encode(side, batch)[side]).numpy().any()
    assert towers.sides["image"].takes["image"].shape == (None, 32, 32, 3)
    assert towers.embedding_dim == 8


def test_names_are_unique_and_equal_in_every_build(towers):
    def names(built):
        return [f"{name}/{v.path}" for name, part in built.named_parts.items() for v in part.variables]

    first = names(towers)
    assert len(set(first)) == len(first)
    assert names(tiny_towers(**NOISE)) == first
    assert {name.split("/")[0] for name in first} == {"image_backbone", "image_head", "text_encoder"}


def test_equal_seeds_build_equal_towers():
    builds = []
    for _ in range(2):
        keras.utils.set_random_seed(3)
        builds.append([w for part in tiny_towers().named_parts.values() for w in part.get_weights()])
    for a, b in zip(*builds, strict=True):
        np.testing.assert_array_equal(a, b)


def test_folded_towers_embed_alike(towers):
    folded = towers.folded()
    assert list(folded.named_parts) == list(towers.named_parts)
    assert not [name for name in named_weights(folded.named_parts) if "moving" in name]
    for side, batch in (("image", {"image": pixels(4)}), ("text", {"text": tokenizer()(tf.constant(CAPTIONS))})):
        want = towers.encode(side, batch)[side].numpy()
        np.testing.assert_allclose(folded.encode(side, batch)[side], want, atol=2e-5 * np.abs(want).max())
    halves = bert_encoder(tiny_bert(), lstm_units=3, embedding_dim=4)
    assert [part.model for part in halves.folded().parts] == [part.model for part in halves.parts]
    assert halves.folded().models == halves.models


def test_the_image_tower_saves_alone(towers, tmp_path):
    images = towers.sides["image"].as_model("image_tower")
    images.save(tmp_path / "image.keras")
    again = keras.models.load_model(tmp_path / "image.keras")
    expected = towers.encode("image", {"image": pixels(3)})["image"].numpy()
    assert expected.std() > 1e-3
    np.testing.assert_allclose(again(pixels(3)).numpy(), expected, atol=1e-6)


def test_the_text_tower_saves_alone(towers, tmp_path):
    towers.sides["text"].as_model("text_tower").save(tmp_path / "text.keras")
    again = keras.models.load_model(tmp_path / "text.keras")
    ids = tokenizer()(tf.constant([*CAPTIONS, "an unknown word", ""]))
    np.testing.assert_allclose(again(ids), towers.encode("text", {"text": ids})["text"], atol=1e-6)


def test_berts_tokens_enter_behind_it():
    encoder = bert_encoder(tiny_bert(), embedding_dim=5, lstm_units=6)
    ids = np.array([[2, 5, 7, 16, 3, 0], [2, 9, 3, 0, 0, 0]], np.int32)
    tokens = encoder.parts[0]({"text": ids})
    assert tokens["text_tokens"].shape == (2, 6, 32)
    np.testing.assert_array_equal(tokens["text_mask"], ids != 0)
    np.testing.assert_allclose(encoder(tokens)[""], encoder({"text": ids})[""], atol=1e-6)
    assert set(encoder.models) == {"text_encoder"}


def test_a_bert_whose_words_are_dropped_is_one_part():
    encoder = bert_encoder(tiny_bert(), embedding_dim=5, lstm_units=6, word_dropout=0.1)
    assert [part.takes for part in encoder.parts] == [("text",)]
