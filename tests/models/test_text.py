"""The text encoder: padding, pooling, word vectors, noise and names."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from tests.reference import lstm, pooling
from xmkeras.errors import UserError
from xmkeras.models.text import text_encoder

IDS = np.array([[2, 5, 6, 7], [2, 3, 0, 0], [2, 0, 0, 0]], "int32")
LENGTHS = [4, 2, 1]
SMALL = {"word_dim": 5, "lstm_units": 3, "embedding_dim": 4}


def pooled(encoder: keras.Model, ids: np.ndarray) -> np.ndarray:
    """What enters the joint embedding."""
    return keras.Model(encoder.input, encoder.get_layer("joint_projection").input)(ids).numpy()


@pytest.mark.parametrize("kind", ["max", "mean", "max_mean", "last"])
def test_agrees_with_the_loops(kind):
    encoder = text_encoder(9, pooling=kind, **SMALL)
    both = encoder.get_layer("bidirectional")
    weights = [
        [w.numpy().astype("f8") for w in d.cell.weights] for d in (both.forward_layer, both.backward_layer)
    ]
    words = encoder.get_layer("words").embeddings.numpy()[IDS]
    outputs = lstm.bidirectional(words, LENGTHS, *weights)
    padded = np.stack([np.pad(o, ((0, 4 - len(o)), (0, 0)), constant_values=99) for o in outputs])
    pools = {"max": pooling.max_pool, "mean": pooling.mean_pool, "last": pooling.last_pool}
    want = np.concatenate([pools[name](padded, LENGTHS) for name in kind.split("_")], axis=1)
    np.testing.assert_allclose(pooled(encoder, IDS), want, atol=1e-5)


@pytest.mark.parametrize("kind", ["max", "mean", "max_mean", "last"])
@pytest.mark.parametrize("units", [0, 3])
def test_padding_changes_nothing(kind, units):
    if kind == "last" and not units:
        return
    encoder = text_encoder(9, pooling=kind, **{**SMALL, "lstm_units": units})
    wider = np.pad(IDS, ((0, 0), (0, 4)))
    np.testing.assert_allclose(encoder(wider).numpy(), encoder(IDS).numpy(), atol=1e-6)


def test_padding_enters_the_padded_maximum_enter_the_maximum():
    encoder = text_encoder(9, pooling="max_padded", **SMALL)
    assert (pooled(encoder, IDS)[1:] >= 0).all()
    exact = text_encoder(9, **SMALL)
    exact.set_weights(encoder.get_weights())
    assert (pooled(exact, IDS)[1:] < 0).any()


def test_word_vectors_start_the_table_and_may_stay():
    vectors = np.random.default_rng(0).normal(size=(9, 7)).astype("f4")
    encoder = text_encoder(9, word_vectors=vectors, train_word_vectors=False, **SMALL)
    table = encoder.get_layer("words").embeddings
    np.testing.assert_array_equal(table.numpy(), vectors)
    assert not table.trainable
    assert text_encoder(9, word_vectors=vectors, **SMALL).get_layer("words").embeddings.trainable


def test_noise_acts_in_training_only():
    encoder = text_encoder(9, dropout=0.5, word_dropout=0.5, **SMALL)
    inference = [encoder(IDS, training=False).numpy() for _ in range(2)]
    np.testing.assert_array_equal(*inference)
    assert (encoder(IDS, training=True).numpy() != encoder(IDS, training=True).numpy()).any()


def test_names_do_not_depend_on_what_was_built_before():
    build = lambda: text_encoder(9, dropout=0.1, word_dropout=0.1, **SMALL)  # noqa: E731
    first = [v.path for v in build().variables]
    keras.layers.Dropout(0.1), keras.layers.LSTM(2)
    assert [v.path for v in build().variables] == first
    assert len(set(first)) == len(first)
    assert "bidirectional/forward_lstm/lstm_cell/kernel" in first


def test_half_precision_embeds_in_float32():
    keras.mixed_precision.set_global_policy("mixed_bfloat16")
    try:
        encoder = text_encoder(9, dropout=0.1, word_dropout=0.1, **SMALL)
        embedding = encoder(IDS, training=True)
    finally:
        keras.mixed_precision.set_global_policy("float32")
    assert embedding.dtype == "float32"
    assert np.isfinite(embedding.numpy()).all()


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"pooling": "min"}, "choose one of max, max_padded, mean, max_mean, max_padded_mean, last"),
        ({"pooling": "last", "lstm_units": 0}, "'last' takes the states of an LSTM"),
        ({"word_vectors": np.zeros((8, 5))}, r"shape \(8, 5\).* 9 ids"),
    ],
)
def test_what_cannot_be_is_one_sentence(changed, sentence):
    with pytest.raises(UserError, match=sentence):
        text_encoder(9, **{**SMALL, **changed})
