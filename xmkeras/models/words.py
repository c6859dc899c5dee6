"""A vector for each word of a sentence, as methods ask for that match words with regions."""

from __future__ import annotations

import dataclasses

import keras

from xmkeras.layers import Dropout, LastState, PortableGRU

LAYERS = ("gru", "dense")


@dataclasses.dataclass(frozen=True)
class Words:
    """What a method asks of a text encoder beyond one vector: one of length 1 for each word.

    Attributes:
        layer: what reads the word vectors: "gru", the mean of both directions of a GRU; or "dense", for vectors that
            know of their neighbours already.
        last: the embedding is the state behind the last word of a GRU in one direction (VSRN), of length 1; its states
            are given out as `words`, beside `words_mask`.
    """

    layer: str = "gru"
    last: bool = False

    @property
    def gives(self) -> tuple[str, ...]:
        return ("", "words", "words_mask") if self.last else ("", "mask")


def word_outputs(
    x: keras.KerasTensor,
    mask: keras.KerasTensor,
    words: Words,
    *,
    embedding_dim: int = 512,
    dropout: float = 0.0,
    seed: int = 0,
) -> list[keras.KerasTensor]:
    """Word vectors (B, L, f) with mask (B, L) to what `words` gives, in that order; a word that is not there is 0.

    Args:
        x: the word vectors.
        mask: which are there.
        words: what is asked for.
        embedding_dim: size d of the joint embedding.
        dropout: share of the word vectors' numbers dropped in training.
        seed: of the dropout.
    """
    x = Dropout(dropout, seed=seed + 2, name="input_dropout")(x) if dropout else x
    if words.last:
        x = PortableGRU(embedding_dim, return_sequences=True, zero_output_for_mask=True, name="gru")(x, mask=mask)
        states = _unit("unit_words")(x)
        return [LastState(name="last_state", dtype="float32")(states, mask=mask), states, mask]
    if words.layer == "gru":
        gru = PortableGRU(embedding_dim, return_sequences=True, name="gru")
        x = keras.layers.Bidirectional(gru, merge_mode="ave", name="bidirectional")(x, mask=mask)
    else:
        x = keras.layers.Dense(embedding_dim, name="word_projection")(x)
    return [_unit("unit")(x), mask]


def _unit(name: str) -> keras.layers.Layer:
    # In float32 under every policy: scores are sums of many products.
    return keras.layers.UnitNormalization(axis=-1, dtype="float32", name=name)
