"""Towers of a few thousand weights for tests."""

from __future__ import annotations

from typing import Any

from xmkeras.data.text import Tokenizer, Vocabulary
from xmkeras.models.towers import Towers, build_towers

CAPTIONS = ("a red heart", "a green apple", "two red apples", "a house")


def tiny_towers(**options: Any) -> Towers:
    """MobileNet 0.25 at 32 px and an LSTM of 6 units a direction, 8-dimensional embeddings."""
    vocabulary = Vocabulary.build(CAPTIONS, min_count=1)
    sizes = {"image_size": (32, 32), "image_width": 0.25, "embedding_dim": 8, "word_dim": 5, "lstm_units": 6}
    return build_towers(tokenizer=Tokenizer(vocabulary), **{**sizes, **options})
