"""The text encoder: word vectors, a bidirectional LSTM, masked pooling and the joint embedding."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from xmkeras.errors import UserError
from xmkeras.layers import (
    Dropout,
    GeneralizedPooling,
    LastStatePooling,
    MaskedMaxPooling,
    MaskedMeanPooling,
    PaddingMask,
    WordDropout,
)
from xmkeras.models.bidirectional_lstm import BidirectionalLSTM
from xmkeras.models.heads import joint_embedding
from xmkeras.models.words import Words, word_outputs

POOLINGS = ("max", "max_padded", "mean", "max_mean", "max_padded_mean", "last", "gpo")


def text_encoder(
    vocabulary_size: int,
    *,
    word_dim: int = 512,
    word_dropout: float = 0.0,
    word_vectors: np.ndarray | None = None,
    train_word_vectors: bool = True,
    unknown_word: int = 1,
    first_word: int = 3,
    words: Words | None = None,
    seed: int = 0,
    **sequence: Any,
) -> keras.Model:
    """The text tower of paper 003 from token ids: right-padded with 0, at least one token a row.

    Args:
        vocabulary_size: number of ids V; 0 pads, others of the first ones start or end a caption, words follow.
        word_dim: size of the word vectors, unless `word_vectors` sets it.
        word_dropout: share of words replaced by the unknown word in training.
        word_vectors: (V, word_dim) initial word vectors; where None, Glorot's uniform ones, as the official release.
        train_word_vectors: False keeps the word vectors as they are.
        unknown_word, first_word: ids of the unknown word and of the first that may be dropped.
        words: what a method asks for beyond one vector a text.
        seed: of the dropouts.
        **sequence: what becomes of the word vectors: the options of `sequence_embedding`.

    Returns:
        A model "text_encoder", int32 (B, L) -> float32 (B, d), not L2-normalised; or to what `words` gives.

    Raises:
        UserError: an unknown pooling, or word vectors of another vocabulary.
    """
    if word_vectors is not None and (word_vectors.ndim != 2 or len(word_vectors) != vocabulary_size):
        raise UserError(
            f"The word vectors have the shape {word_vectors.shape}; the vocabulary needs one row for each "
            f"of its {vocabulary_size} ids."
        )
    ids = keras.Input((None,), dtype="int32", name="ids")
    mask = PaddingMask(name="mask")(ids)
    kept = ids
    if word_dropout:
        dropped = WordDropout(
            word_dropout, unknown=unknown_word, first_word=first_word, seed=seed + 1, name="word_dropout"
        )
        kept = dropped(ids)
    x = _word_table(vocabulary_size, word_dim, word_vectors, train_word_vectors)(kept)
    return keras.Model(ids, text_outputs(x, mask, words, seed=seed, **sequence), name="text_encoder")


def text_outputs(
    x: keras.KerasTensor, mask: keras.KerasTensor, words: Words | None, **sequence: Any
) -> keras.KerasTensor | list[keras.KerasTensor]:
    """Token vectors (B, L, f) with mask (B, L) to the embedding of `sequence_embedding`, or to what `words` gives."""
    if words is None:
        return sequence_embedding(x, mask, **sequence)
    taken = {name: sequence[name] for name in ("embedding_dim", "dropout", "seed") if name in sequence}
    return word_outputs(x, mask, words, **taken)


def sequence_embedding(
    x: keras.KerasTensor,
    mask: keras.KerasTensor,
    *,
    lstm_units: int = 512,
    embedding_dim: int = 512,
    dropout: float = 0.0,
    pooling: str = "max",
    joint_norm: str = "batch",
    norm_momentum: float = 0.99,
    norm_epsilon: float = 1e-3,
    seed: int = 0,
) -> keras.KerasTensor:
    """Bi-LSTM, pooling and joint embedding of token vectors, (B, L, f) with mask (B, L) -> (B, embedding_dim).

    Args:
        x: the token vectors.
        mask: which of them are there.
        lstm_units: of each direction; 0 pools the token vectors without an LSTM.
        embedding_dim: size d of the joint embedding.
        dropout: share of values dropped in training before and after the LSTM.
        pooling: over time: "max"; "max_padded", which lets padding enter the maximum as zeros, as the official release
            of paper 003 does; "mean"; "max_mean" and "max_padded_mean" (both, side by side); "last" (both
            directions' last states; needs the LSTM); or "gpo" (see `GeneralizedPooling`).
        joint_norm: what ends the tower: "batch", or "none" for a plain dense layer.
        norm_momentum: of the joint embedding's batch statistics.
        norm_epsilon: added to their variance.
        seed: of the dropouts.

    Raises:
        UserError: an unknown pooling, or one that needs the LSTM that is left out.
    """
    _check_pooling(pooling, lstm_units)
    x = Dropout(dropout, seed=seed + 2, name="input_dropout")(x) if dropout else x
    if lstm_units:
        x = BidirectionalLSTM(lstm_units, name="bidirectional")(x, mask=mask)
        x = Dropout(dropout, seed=seed + 3, name="output_dropout")(x) if dropout else x
    x = _pool(x, mask, pooling)
    momentum, epsilon = norm_momentum, norm_epsilon
    return joint_embedding(x, embedding_dim, norm=joint_norm, norm_momentum=momentum, norm_epsilon=epsilon)


def _check_pooling(pooling: str, lstm_units: int) -> None:
    if pooling not in POOLINGS:
        raise UserError(f"The text pooling {pooling!r} is not known; choose one of {', '.join(POOLINGS)}.")
    if pooling == "last" and not lstm_units:
        raise UserError(
            "The text pooling 'last' takes the states of an LSTM; set lstm_units or choose max or mean."
        )


def _word_table(
    vocabulary_size: int, word_dim: int, vectors: np.ndarray | None, trainable: bool
) -> keras.layers.Embedding:
    width = word_dim if vectors is None else vectors.shape[1]
    initializer = keras.initializers.GlorotUniform() if vectors is None else "zeros"
    table = keras.layers.Embedding(
        vocabulary_size, width, embeddings_initializer=initializer, trainable=trainable, name="words"
    )
    table.build()
    if vectors is not None:
        table.set_weights([vectors])
    return table


def _pool(x: keras.KerasTensor, mask: keras.KerasTensor, pooling: str) -> keras.KerasTensor:
    if pooling == "last":
        return LastStatePooling(name="last_state")(x, mask=mask)
    if pooling == "gpo":
        return GeneralizedPooling(name="gpo")(x, mask=mask)
    pools = []
    if "max" in pooling:
        padded = "padded" in pooling
        pools.append(MaskedMaxPooling(zero_pad_compat=padded, name="max_pool")(x, mask=mask))
    if "mean" in pooling:
        pools.append(MaskedMeanPooling(name="mean_pool")(x, mask=mask))
    return pools[0] if len(pools) == 1 else keras.layers.Concatenate(name="pools")(pools)
