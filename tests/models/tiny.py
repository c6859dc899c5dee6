"""Towers of a few thousand weights for tests."""

from __future__ import annotations

from typing import Any

from xmkeras.data.text import Tokenizer, Vocabulary
from xmkeras.models.encoder import Towers
from xmkeras.models.towers import picture_encoder, word_encoder

CAPTIONS = ("a red heart", "a green apple", "two red apples", "a house")


def tokenizer() -> Tokenizer:
    """Of the words of `CAPTIONS`."""
    return Tokenizer(Vocabulary.build(CAPTIONS, min_count=1))


def tiny_towers(*, image_dropout: float = 0.0, dim: int = 8, **words: Any) -> Towers:
    """MobileNet 0.25 at 32 px and an LSTM of 6 units a direction, 8-dimensional embeddings."""
    images = picture_encoder((32, 32), image_width=0.25, embedding_dim=dim, image_dropout=image_dropout)
    sizes = {"word_dim": 5, "lstm_units": 6, "embedding_dim": dim}
    return Towers({"image": images, "text": word_encoder(tokenizer().vocabulary_size, **{**sizes, **words})})
