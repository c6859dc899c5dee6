"""The text encoder of TIMAM: BERT, a bidirectional LSTM, masked pooling and the joint embedding."""

from __future__ import annotations

from typing import Any

import keras

from xmkeras.errors import UserError
from xmkeras.layers import PaddingMask, WordDropout
from xmkeras.layers.transformer import InnerTokens
from xmkeras.models.bert import Bert, bert_tokens
from xmkeras.models.text import text_outputs
from xmkeras.models.words import Words

_TOKENS, _WORD_DROPOUT = "inner_tokens", "word_dropout"
_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def bert_text_encoder(
    bert: Bert,
    *,
    bert_frozen_layers: int = -1,
    bert_dropout: float = 0.1,
    word_dropout: float = 0.0,
    words: Words | None = None,
    seed: int = 0,
    **sequence: Any,
) -> keras.Model:
    """The text tower of paper 004 from the ids of `xmkeras.data.wordpiece.WordPieceTokenizer`.

    Pooling sees the word pieces alone, not [CLS] and [SEP]; an empty text is read as its [SEP].

    Args:
        bert: sizes and weights.
        bert_frozen_layers: see `xmkeras.models.bert.bert_tokens`.
        bert_dropout: dropout inside BERT; what is frozen has none.
        word_dropout: share of word pieces replaced by [UNK] in training.
        words: what a method asks for beyond one vector a text.
        seed: of the dropouts.
        **sequence: what becomes of BERT's vectors: the options of `xmkeras.models.text.sequence_embedding`.

    Returns:
        A model "text_encoder", int32 (B, L) -> float32 (B, embedding_dim), not L2-normalised; or to what `words` gives.
        BERT's variables are those whose names begin with `bert_`.

    Raises:
        UserError: an unknown pooling, a vocabulary that words cannot be dropped from, or weights that do not fit.
    """
    ids = keras.Input((None,), dtype="int32", name="ids")
    mask = PaddingMask(name="mask")(ids)
    kept = _word_dropout(bert, word_dropout, seed + 1)(ids) if word_dropout else ids
    x = bert_tokens(kept, mask, bert, frozen_layers=bert_frozen_layers, dropout=bert_dropout, seed=seed + 100)
    x, inner = InnerTokens(name=_TOKENS)(x, mask)
    return keras.Model(ids, text_outputs(x, inner, words, seed=seed, **sequence), name="text_encoder")


def at_tokens(encoder: keras.Model) -> tuple[keras.Model, keras.Model] | None:
    """A text encoder cut where BERT ends, or None where it has no BERT or drops words before it.

    Both halves are made of the encoder's own layers, so that they train with it.

    Returns:
        ids (B, L) -> token vectors (B, L, f) and their mask (B, L); and these two -> what the encoder gives.
    """
    names = {layer.name for layer in encoder.layers}
    if _TOKENS not in names or _WORD_DROPOUT in names:
        return None
    tokens = list(encoder.get_layer(_TOKENS).input)
    ends = encoder.outputs if len(encoder.outputs) > 1 else encoder.output
    return keras.Model(encoder.input, tokens, name="text_tokens"), keras.Model(tokens, ends, name="text_rest")


def _word_dropout(bert: Bert, rate: float, seed: int) -> WordDropout:
    places = {token: bert.vocabulary.index(token) for token in _SPECIAL if token in bert.vocabulary}
    first = 1 + max(places.values())
    if first > len(bert.vocabulary) // 2:
        raise UserError("--word_dropout needs a BERT whose special tokens come before its words; set it to 0.")
    return WordDropout(rate, unknown=places["[UNK]"], first_word=first, seed=seed, name=_WORD_DROPOUT)
