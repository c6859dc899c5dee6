"""The text encoder over BERT: special tokens left out, pooling, options."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from tests.models.tiny_bert import CONFIG, VOCABULARY, tiny_bert
from xmkeras.errors import UserError
from xmkeras.models.bert import Bert
from xmkeras.models.bert_text import bert_text_encoder

IDS = np.array([[2, 5, 7, 16, 3, 0, 0, 0], [2, 9, 3, 0, 0, 0, 0, 0], [2, 3, 0, 0, 0, 0, 0, 0]], np.int32)


def encoder(bert: Bert | None = None, **options) -> keras.Model:
    keras.utils.set_random_seed(0)
    return bert_text_encoder(bert or tiny_bert(), **{"lstm_units": 6, "embedding_dim": 5, **options})


@pytest.mark.parametrize("pooling", ["max", "mean", "max_mean", "last"])
def test_padding_changes_nothing(pooling):
    model = encoder(pooling=pooling)
    outputs = model(IDS).numpy()
    assert outputs.shape == (3, 5)
    assert np.isfinite(outputs).all()
    for row, length in enumerate((5, 3)):
        np.testing.assert_allclose(model(IDS[row : row + 1, :length])[0], outputs[row], atol=1e-5)


def test_pooling_sees_neither_special_token():
    """Without an LSTM the mean of the token vectors is what the projection gets."""
    model = encoder(lstm_units=0, pooling="mean")
    pooled = keras.Model(model.input, model.get_layer("mean_pool").output)(IDS).numpy()
    states = keras.Model(model.input, model.get_layer("bert_layer_1").output)(IDS).numpy()
    np.testing.assert_allclose(pooled[0], states[0, 1:4].mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(pooled[1], states[1, 1], atol=1e-6)
    np.testing.assert_allclose(pooled[2], states[2, 1], atol=1e-6)


def test_berts_variables_are_told_by_their_names():
    model = encoder(bert_frozen_layers=1)
    names = {variable.path for variable in model.variables}
    assert len(names) == len(model.variables)
    of_bert = {name for name in names if name.startswith("bert_")}
    assert {name.split("/")[0] for name in names - of_bert} == {"bidirectional", "joint_projection", "joint_norm"}
    frozen = {v.path.split("/")[0] for v in model.variables if v.path in of_bert} - {
        v.path.split("/")[0] for v in model.trainable_variables
    }
    assert {"bert_embeddings", "bert_layer_0"} <= frozen


def test_dropped_words_are_no_special_tokens():
    model = encoder(word_dropout=0.9)
    dropped = keras.Model(model.input, model.get_layer("word_dropout").output)
    ids = np.repeat(IDS, 50, axis=0)
    found = np.asarray(dropped(ids, training=True))
    np.testing.assert_array_equal(found[ids < 5], ids[ids < 5])
    assert (found[ids >= 5] == 1).mean() > 0.5
    np.testing.assert_array_equal(dropped(ids), ids)


def test_options_that_do_not_fit_are_explained():
    with pytest.raises(UserError, match="not known"):
        encoder(pooling="sum")
    with pytest.raises(UserError, match="takes the states of an LSTM"):
        encoder(pooling="last", lstm_units=0)
    with pytest.raises(UserError, match="--word_dropout needs"):
        encoder(Bert(CONFIG, (VOCABULARY[0], *VOCABULARY[5:], *VOCABULARY[1:5])), word_dropout=0.1)
