"""The text encoder: word vectors, a bidirectional LSTM, masked pooling and the joint embedding."""

from __future__ import annotations

import keras
import numpy as np

from xmkeras.errors import UserError
from xmkeras.layers import (
    Dropout,
    LastStatePooling,
    MaskedMaxPooling,
    MaskedMeanPooling,
    PaddingMask,
    PortableLSTM,
    WordDropout,
)
from xmkeras.models.heads import joint_embedding

POOLINGS = ("max", "mean", "max_mean", "last")


def text_encoder(
    vocabulary_size: int,
    *,
    word_dim: int = 512,
    lstm_units: int = 512,
    embedding_dim: int = 512,
    dropout: float = 0.0,
    word_dropout: float = 0.0,
    pooling: str = "max",
    zero_pad_compat: bool = False,
    joint_norm: str = "batch",
    word_vectors: np.ndarray | None = None,
    train_word_vectors: bool = True,
    word_scale: float = 0.0,
    norm_momentum: float = 0.99,
    norm_epsilon: float = 1e-3,
    seed: int = 0,
) -> keras.Model:
    """The text tower of paper 003 from token ids: right-padded with 0, at least one token a row.

    Args:
        vocabulary_size: number of ids V; 0 pads, 1 is the unknown word, 2 starts a caption, words follow.
        word_dim: size of the word vectors, unless `word_vectors` sets it.
        lstm_units: of each direction; 0 pools the word vectors without an LSTM.
        embedding_dim: size d of the joint embedding.
        dropout: share of values dropped in training before and after the LSTM.
        word_dropout: share of words replaced by the unknown word in training.
        pooling: over time: "max", "mean", "max_mean" (both, side by side), or "last" (both directions' last
            states; needs the LSTM).
        zero_pad_compat: let padding enter the maximum as zeros, as the official release does.
        word_vectors: (V, word_dim) initial word vectors; random ones where None.
        train_word_vectors: False keeps the word vectors as they are.
        word_scale: standard deviation of random word vectors; 0 takes Glorot's uniform ones, as the official release
            does, which are so small that the first hundreds of steps only make them grow.
        joint_norm: of the joint embedding: "batch", or "none" for a plain dense layer.
        norm_momentum: of the joint embedding's batch statistics.
        norm_epsilon: added to their variance.
        seed: of the dropouts.

    Returns:
        A model "text_encoder", int32 (B, L) -> float32 (B, d), not L2-normalised.

    Raises:
        UserError: an unknown pooling, or word vectors of another vocabulary.
    """
    _check(pooling, lstm_units, word_vectors, vocabulary_size)
    ids = keras.Input((None,), dtype="int32", name="ids")
    mask = PaddingMask(name="mask")(ids)
    kept = WordDropout(word_dropout, seed=seed + 1, name="word_dropout")(ids) if word_dropout else ids
    x = _word_table(vocabulary_size, word_dim, word_vectors, train_word_vectors, word_scale)(kept)
    x = sequence_embedding(
        x,
        mask,
        lstm_units=lstm_units,
        embedding_dim=embedding_dim,
        dropout=dropout,
        pooling=pooling,
        zero_pad_compat=zero_pad_compat,
        joint_norm=joint_norm,
        norm_momentum=norm_momentum,
        norm_epsilon=norm_epsilon,
        seed=seed,
    )
    return keras.Model(ids, x, name="text_encoder")


def sequence_embedding(
    x: keras.KerasTensor,
    mask: keras.KerasTensor,
    *,
    lstm_units: int,
    embedding_dim: int,
    dropout: float = 0.0,
    pooling: str = "max",
    zero_pad_compat: bool = False,
    joint_norm: str = "batch",
    norm_momentum: float = 0.99,
    norm_epsilon: float = 1e-3,
    seed: int = 0,
) -> keras.KerasTensor:
    """Bi-LSTM, pooling and joint embedding of token vectors, (B, L, f) with mask (B, L) -> (B, embedding_dim).

    The options are those of `text_encoder`.
    """
    x = Dropout(dropout, seed=seed + 2, name="input_dropout")(x) if dropout else x
    if lstm_units:
        lstm = PortableLSTM(lstm_units, return_sequences=True, name="lstm")
        x = keras.layers.Bidirectional(lstm, name="bidirectional")(x, mask=mask)
        x = Dropout(dropout, seed=seed + 3, name="output_dropout")(x) if dropout else x
    x = _pool(x, mask, pooling, zero_pad_compat)
    momentum, epsilon = norm_momentum, norm_epsilon
    return joint_embedding(x, embedding_dim, norm=joint_norm, norm_momentum=momentum, norm_epsilon=epsilon)


def check_pooling(pooling: str, lstm_units: int) -> None:
    """Raises UserError for a pooling that is unknown or needs the LSTM that is left out."""
    if pooling not in POOLINGS:
        raise UserError(f"The text pooling {pooling!r} is not known; choose one of {', '.join(POOLINGS)}.")
    if pooling == "last" and not lstm_units:
        raise UserError(
            "The text pooling 'last' takes the states of an LSTM; set lstm_units or choose max or mean."
        )


def _check(pooling: str, lstm_units: int, word_vectors: np.ndarray | None, vocabulary_size: int) -> None:
    check_pooling(pooling, lstm_units)
    if word_vectors is not None and (word_vectors.ndim != 2 or len(word_vectors) != vocabulary_size):
        raise UserError(
            f"The word vectors have the shape {word_vectors.shape}; the vocabulary needs one row for each "
            f"of its {vocabulary_size} ids."
        )


def _word_table(
    vocabulary_size: int, word_dim: int, vectors: np.ndarray | None, trainable: bool, scale: float
) -> keras.layers.Embedding:
    if vectors is None:
        normal, uniform = keras.initializers.RandomNormal(stddev=scale or 1.0), keras.initializers.GlorotUniform()
        initializer: keras.initializers.Initializer = normal if scale else uniform
        table = keras.layers.Embedding(
            vocabulary_size, word_dim, embeddings_initializer=initializer, trainable=trainable, name="words"
        )
    else:
        table = keras.layers.Embedding(vocabulary_size, vectors.shape[1], trainable=trainable, name="words")
    table.build()
    if vectors is not None:
        table.set_weights([vectors])
    return table


def _pool(
    x: keras.KerasTensor, mask: keras.KerasTensor, pooling: str, zero_pad_compat: bool
) -> keras.KerasTensor:
    if pooling == "last":
        return LastStatePooling(name="last_state")(x, mask=mask)
    pools = []
    if "max" in pooling:
        pools.append(MaskedMaxPooling(zero_pad_compat=zero_pad_compat, name="max_pool")(x, mask=mask))
    if "mean" in pooling:
        pools.append(MaskedMeanPooling(name="mean_pool")(x, mask=mask))
    return pools[0] if len(pools) == 1 else keras.layers.Concatenate(name="pools")(pools)
