"""Towers of a few thousand weights for tests."""

from __future__ import annotations

from typing import Any

from xmkeras.data.text import Vocabulary
from xmkeras.models.encoder import Towers
from xmkeras.models.towers import picture_encoder, word_encoder

CAPTIONS = ("a red heart", "a green apple", "two red apples", "a house")


def tiny_towers(*, embedding_dim: int = 8, image: Any = None, text: Any = None) -> Towers:
    """MobileNet 0.25 at 32 px and an LSTM of 6 units a direction; `image` and `text` are options of the encoders."""
    size = {"embedding_dim": embedding_dim}
    vocabulary = Vocabulary.build(CAPTIONS, min_count=1)
    pictures = picture_encoder((32, 32), **{"image_width": 0.25, **size, **(image or {})})
    words = word_encoder(len(vocabulary), **{"word_dim": 5, "lstm_units": 6, **size, **(text or {})})
    return Towers({"image": pictures, "text": words})
