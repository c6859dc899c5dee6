"""BERT's tokenizer inside the graph: clean text, split words, then the longest word pieces first.

The words and pieces are those of Hugging Face's `BertTokenizerFast`, token by token, but for one thing: "[SEP]" and
its like written in a text are text, not special tokens, so that no caption can end itself. Core, stateless TensorFlow
ops only: the tokenizer runs under tf.data and exports without custom ops.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf

from xmkeras.data.bert_characters import ALONE, DROPPED, EXPANDED, ISOLATED, NOTHING, PAGE, SPACE, character_table
from xmkeras.data.word_index import WordIndex
from xmkeras.errors import UserError

PAD, UNK, START, END = "[PAD]", "[UNK]", "[CLS]", "[SEP]"
LONGEST_WORD = 100  # characters; a longer word is unknown
CONTINUED = "##"
_SHORTEST = 3  # tokens a row: something between [CLS] and [SEP] even where all texts are empty
_OPEN, _FAILED = -1, -2  # in a row of pieces: none yet, and none that fits


@keras.saving.register_keras_serializable(package="xmkeras")
class WordPieceTokenizer(keras.layers.Layer):
    """Strings (batch,) -> int32 ids (batch, length): [CLS], the word pieces, [SEP], zeros behind.

    The length is that of the longest text, at most `max_tokens`, rounded up to a multiple of `pad_to_multiple`.

    Args:
        vocabulary: the pieces in the order of their ids, [PAD] first.
        lower_case: for the vocabulary of an uncased model.
        strip_accents: None follows `lower_case`, as in the published tokenizers.
        max_tokens: longer texts lose their last pieces; [CLS] and [SEP] count.
        pad_to_multiple: see above; 1 pads to the longest text.

    Raises:
        UserError: a special token is missing, or [PAD] is not the first.
    """

    def __init__(
        self,
        vocabulary: Sequence[str],
        *,
        lower_case: bool = True,
        strip_accents: bool | None = None,
        max_tokens: int = 64,
        pad_to_multiple: int = 8,
        **kwargs: Any,
    ) -> None:
        super().__init__(**{"name": "tokenizer", "trainable": False, **kwargs})
        if max_tokens < _SHORTEST or pad_to_multiple < 1:
            raise UserError(
                f"max_tokens={max_tokens} and pad_to_multiple={pad_to_multiple} must be at least {_SHORTEST} and 1."
            )
        self.vocabulary = list(vocabulary)
        missing = [token for token in (PAD, UNK, START, END) if token not in self.vocabulary]
        if missing or self.vocabulary[0] != PAD:
            raise UserError(
                f"The BERT vocabulary lacks {', '.join(missing)}; is it a WordPiece vocab.txt?"
                if missing
                else f"The BERT vocabulary begins with {self.vocabulary[0]!r}; its first piece has to be {PAD}."
            )
        self.lower_case = lower_case
        self.strip_accents = strip_accents
        self.max_tokens = max_tokens
        self.pad_to_multiple = pad_to_multiple
        self.supports_jit = False
        # Not the layer's own conversion: it would take a list of str for a structure of inputs.
        self._convert_input_args = False
        self._allow_non_tensor_positional_args = True
        self._index = WordIndex(self.vocabulary)
        self._longest = max(len(piece.removeprefix(CONTINUED)) for piece in self.vocabulary)
        self._table = character_table(
            lower_case=lower_case, strip_accents=lower_case if strip_accents is None else strip_accents
        )
        self.built = True

    @property
    def vocabulary_size(self) -> int:
        """The number of ids."""
        return len(self.vocabulary)

    def id_of(self, piece: str) -> int:
        """The id of a piece of the vocabulary."""
        return self.vocabulary.index(piece)

    def tokenize(self, texts: Any) -> tf.RaggedTensor:
        """The pieces of each text without special tokens: strings (batch,) -> ragged strings (batch, pieces)."""
        ids = self._piece_ids(tf.convert_to_tensor(texts, tf.string))
        return ids.with_flat_values(tf.gather(tf.constant(self.vocabulary), ids.flat_values))

    def words_of(self, text: str) -> list[str]:
        """What stands at each position of a text's ids, "" at [CLS] and [SEP]."""
        pieces = self.tokenize([text])[0].numpy()[: self.max_tokens - 2]
        return ["", *(piece.decode("utf-8", "replace") for piece in pieces), ""]

    def call(self, texts: Any) -> tf.Tensor:
        return self.frame(self._piece_ids(tf.convert_to_tensor(texts, tf.string)))

    def frame(self, ids: tf.RaggedTensor) -> tf.Tensor:
        """Ids of pieces, ragged int32 (batch, pieces), cut, with [CLS] before, [SEP] behind, and padded."""
        ids = ids[:, : self.max_tokens - 2]
        column = [ids.nrows(), 1]
        start, end = (tf.fill(column, self.id_of(piece)) for piece in (START, END))
        padded = tf.concat([start, ids, end], axis=1).to_tensor(0)
        width = tf.shape(padded)[1]
        length = -(-tf.maximum(width, _SHORTEST) // self.pad_to_multiple) * self.pad_to_multiple
        return tf.pad(padded, [[0, 0], [0, length - width]])

    def _piece_ids(self, texts: tf.Tensor) -> tf.RaggedTensor:
        """Strings (batch,) -> ragged int32 (batch, pieces)."""
        words, rows = self._words(texts)
        pieces = self._pieces(words)
        by_text = tf.RaggedTensor.from_value_rowids(pieces, rows, nrows=tf.size(texts, tf.int64), validate=False)
        return by_text.merge_dims(1, 2)

    def _words(self, texts: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """The normalised words of all texts, strings (w,), and the text of each, int64 (w,)."""
        codes = tf.strings.unicode_decode(texts, "UTF-8", errors="replace", replacement_char=0xFFFD)
        characters = self._normalise(codes.flat_values)  # (n, 3)
        kept = characters != NOTHING
        rows = tf.repeat(codes.value_rowids(), tf.reduce_sum(tf.cast(kept, tf.int32), axis=1))
        characters = tf.boolean_mask(characters, kept)
        space, alone = characters == ord(" "), characters >= ISOLATED
        characters = tf.bitwise.bitwise_and(characters, ISOLATED - 1)
        # A word ends before and after spaces and characters that stand alone, and with its text.
        breaks = tf.logical_or(space, alone)
        after = tf.concat([[True], tf.logical_or(breaks[:-1], rows[1:] != rows[:-1])], axis=0)[: tf.size(rows)]
        starts = tf.logical_and(tf.logical_or(alone, after), tf.logical_not(space))
        number = tf.cumsum(tf.cast(starts, tf.int64)) - 1
        solid = tf.logical_not(space)
        words = tf.RaggedTensor.from_value_rowids(
            tf.boolean_mask(characters, solid),
            tf.boolean_mask(number, solid),
            nrows=tf.math.count_nonzero(starts),
            validate=False,
        )
        return tf.strings.unicode_encode(words, "UTF-8"), tf.boolean_mask(rows, starts)

    def _normalise(self, codes: tf.Tensor) -> tf.Tensor:
        """Code points (n,) -> what each becomes, int32 (n, 3): characters, ISOLATED or not, NOTHING behind them."""
        pages, kinds, expansions = (tf.constant(part) for part in self._table)
        kind = tf.gather(kinds, tf.gather(pages, codes // PAGE) * PAGE + codes % PAGE)
        one = tf.where(kind == ALONE, codes | ISOLATED, codes)
        one = tf.where(kind == SPACE, ord(" "), tf.where(kind == DROPPED, NOTHING, one))
        single = tf.pad(one[:, None], [[0, 0], [0, 2]], constant_values=NOTHING)
        several = tf.gather(expansions, tf.maximum(kind - EXPANDED, 0))
        return tf.where(kind[:, None] >= EXPANDED, several, single)

    def _pieces(self, words: tf.Tensor) -> tf.RaggedTensor:
        """Words (w,) -> ragged int32 (w, pieces): the whole word where it is known, as most are, else its pieces."""
        find = self._index.finder()
        unknown = self.id_of(UNK)
        length = tf.strings.length(words, unit="UTF8_CHAR")
        whole = tf.where(length > LONGEST_WORD, unknown, find(words))
        rest = tf.where(whole < 0)
        split = self._split(tf.gather_nd(words, rest), tf.gather_nd(length, rest), find)
        failed = tf.reduce_any(split == _FAILED, axis=1)
        only = tf.concat([tf.fill([tf.size(failed), 1], unknown), tf.fill(tf.shape(split[:, 1:]), _OPEN)], axis=1)
        split = tf.where(failed[:, None], only, split)
        table = tf.pad(whole[:, None], [[0, 0], [0, tf.shape(split)[1] - 1]], constant_values=_OPEN)
        table = tf.tensor_scatter_nd_update(table, rest, split)
        return tf.RaggedTensor.from_tensor(table, padding=_OPEN)

    def _split(self, words: tf.Tensor, length: tf.Tensor, find: Callable[[tf.Tensor], tf.Tensor]) -> tf.Tensor:
        """Words (w,) of `length` characters -> int32 (w, most pieces), the longest piece first, _OPEN behind.

        A word that has no piece at some place has _FAILED there. Each turn finds the next piece of all words.
        """

        def turn(start: tf.Tensor, pieces: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            active = tf.where(start < length)
            begin, left = tf.gather_nd(start, active), tf.gather_nd(length - start, active)
            sizes = tf.range(1, tf.clip_by_value(tf.reduce_max(left), 1, self._longest) + 1)
            shape = [tf.size(left), tf.size(sizes)]
            texts = tf.strings.substr(
                tf.broadcast_to(tf.gather_nd(words, active)[:, None], shape),
                tf.broadcast_to(begin[:, None], shape),
                tf.broadcast_to(sizes, shape),
                unit="UTF8_CHAR",
            )
            texts = tf.where(begin[:, None] > 0, tf.strings.join([CONTINUED, texts]), texts)
            found = tf.where(sizes <= left[:, None], find(texts), -1)
            size = tf.reduce_max(tf.where(found >= 0, sizes, 0), axis=1)
            piece = tf.gather(found, tf.maximum(size - 1, 0), batch_dims=1)
            piece = tf.where(size > 0, piece, _FAILED)
            start = tf.tensor_scatter_nd_add(start, active, tf.where(size > 0, size, left))
            column = tf.tensor_scatter_nd_update(tf.fill(tf.shape(start), _OPEN), active, piece)
            return start, tf.concat([pieces, column[:, None]], axis=1)

        start = tf.zeros_like(length)
        first = turn(start, tf.zeros([tf.size(length), 0], tf.int32))
        return tf.while_loop(
            lambda start, pieces: tf.reduce_any(start < length),
            turn,
            first,
            shape_invariants=(tf.TensorShape([None]), tf.TensorShape([None, None])),
        )[1]

    def compute_output_spec(self, texts: keras.KerasTensor) -> keras.KerasTensor:
        return keras.KerasTensor((texts.shape[0], None), "int32")

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "vocabulary": self.vocabulary,
            "lower_case": self.lower_case,
            "strip_accents": self.strip_accents,
            "max_tokens": self.max_tokens,
            "pad_to_multiple": self.pad_to_multiple,
        }
