"""Self-attention against literal loops, blocks, and the tokens between the special ones."""

from __future__ import annotations

import math

import keras
import numpy as np
import pytest

from xmkeras.layers.transformer import InnerTokens, SelfAttention, TokenEmbeddings, TransformerBlock

MASK = np.array([[True] * 4, [True, True, False, False]])


def features(width: int = 6) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(2, 4, width)).astype(np.float32)


def attention_loops(layer: SelfAttention, x: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """One token, one head, one attended token at a time, float64."""

    def dense(child: keras.layers.Dense, vector: np.ndarray) -> np.ndarray:
        kernel, bias = (np.asarray(weight, np.float64) for weight in child.weights)
        return vector @ kernel + bias

    width = x.shape[-1]
    size = width // layer.heads
    out = np.zeros(x.shape)
    for row in range(len(x)):
        valid = [position for position in range(x.shape[1]) if mask[row, position]]
        for position in range(x.shape[1]):
            mixed = np.zeros(width)
            for head in range(layer.heads):
                part = slice(head * size, (head + 1) * size)
                query = dense(layer.query, x[row, position])[part]
                scores = [query @ dense(layer.key, x[row, other])[part] / math.sqrt(size) for other in valid]
                total = sum(math.exp(score) for score in scores)
                for other, score in zip(valid, scores, strict=True):
                    mixed[part] += math.exp(score) / total * dense(layer.value, x[row, other])[part]
            out[row, position] = dense(layer.projection, mixed)
    return out


@pytest.mark.parametrize("heads", [1, 2, 3])
def test_attention_equals_the_loops(heads):
    layer, x = SelfAttention(heads), features()
    layer.build(x.shape)
    generator = np.random.default_rng(1)
    for variable in layer.trainable_variables:
        variable.assign(generator.normal(size=variable.shape))
    np.testing.assert_allclose(layer(x, MASK), attention_loops(layer, x, MASK), atol=1e-4)


def test_heads_have_to_divide_the_width():
    with pytest.raises(ValueError, match="4 heads do not divide vectors of size 6"):
        SelfAttention(4).build((None, None, 6))


def test_a_block_ends_in_a_layer_norm():
    block = TransformerBlock(2, 12)
    y = np.asarray(block(features(), MASK))
    np.testing.assert_allclose(y.mean(axis=-1), 0, atol=1e-5)
    np.testing.assert_allclose(y.std(axis=-1), 1, atol=1e-3)


def test_the_two_forms_of_gelu_differ_a_little():
    one, two = TransformerBlock(2, 12), TransformerBlock(2, 12, approximate_gelu=True)
    for block in (one, two):
        block.build((None, None, 6))
    generator = np.random.default_rng(2)
    values = [generator.normal(size=w.shape) if w.dtype == np.float32 else w for w in one.get_weights()]
    one.set_weights(values)
    two.set_weights(values)
    difference = np.abs(np.asarray(one(features(), MASK)) - np.asarray(two(features(), MASK))).max()
    assert 1e-7 < difference < 1e-2


def test_embeddings_add_token_and_position():
    layer = TokenEmbeddings(7, 5, 4)
    layer.build((None, None))
    words, positions = np.arange(28.0).reshape(7, 4) ** 2, np.arange(20.0).reshape(5, 4)
    layer.words.assign(words)
    layer.positions.assign(positions)
    total = words[[3, 6]] + positions[:2]
    centred = total - total.mean(axis=-1, keepdims=True)
    expected = centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True))
    np.testing.assert_allclose(layer(np.array([[3, 6]]))[0], expected, atol=1e-4)


def test_inner_tokens_leave_out_the_first_and_the_last():
    x = np.arange(2 * 6).reshape(2, 6, 1).astype(np.float32)
    mask = np.array([[True] * 5 + [False], [True] * 3 + [False] * 3])
    inner, kept = InnerTokens()(x, mask)
    assert [row[valid].ravel().tolist() for row, valid in zip(np.asarray(inner), np.asarray(kept), strict=True)] == [
        [1, 2, 3],
        [7],
    ]


def test_an_empty_text_keeps_its_end():
    inner, kept = InnerTokens()(np.arange(4.0).reshape(1, 4, 1), np.array([[True, True, False, False]]))
    assert np.asarray(inner)[np.asarray(kept)].tolist() == [[1.0]]


@pytest.mark.parametrize(
    "layer",
    [
        TokenEmbeddings(7, 5, 4, dropout=0.3, seed=2),
        SelfAttention(2, dropout=0.3, seed=2),
        TransformerBlock(2, 8, approximate_gelu=True, epsilon=1e-6, dropout=0.3, seed=2),
        InnerTokens(),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_layers_survive_their_config(layer):
    copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    assert copy.get_config() == layer.get_config()
