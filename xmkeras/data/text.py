"""Captions to word ids inside the graph, and the vocabulary that numbers the words."""

from __future__ import annotations

import collections
import dataclasses
import os
import pathlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import keras
import tensorflow as tf

from xmkeras.data.release_tokens import split_release_words
from xmkeras.data.word_index import WordIndex
from xmkeras.errors import UserError
from xmkeras.files import write_atomically

# Of the library's own rule; every rule pads with PAD.
PAD, UNK, START = 0, 1, 2
SPECIAL = 3  # ids in front of the first word
_CHUNK = 8192


def split_words(texts: tf.Tensor) -> tf.RaggedTensor:
    """Lower-cases, deletes punctuation, splits at white space: strings (n,) -> ragged strings (n, words).

    The way of the CMPM release with CUHK-PEDES captions, for any script: "A red-haired woman!" gives
    a, redhaired, woman. Bytes that are no UTF-8 become U+FFFD, so that one broken text cannot fail its batch.
    """
    texts = tf.strings.unicode_transcode(texts, "UTF-8", "UTF-8")
    texts = tf.strings.lower(texts, encoding="utf-8")
    texts = tf.strings.regex_replace(texts, r"[[:punct:]\p{P}\p{Cf}]", "")
    texts = tf.strings.regex_replace(texts, r"[\s\p{Z}\p{Cc}]+", " ")
    return tf.strings.split(texts)


@dataclasses.dataclass(frozen=True)
class TokenRule:
    """How texts become ids: 0 pads, others stand for what is no word, and words count from `first_word`.

    Attributes:
        split: strings (n,) -> ragged strings (n, words).
        unknown: id of a word that is not in the vocabulary.
        start, end: ids in front of and behind a text; no id for no such token.
        first_word: how many ids lie in front of the first word.
    """

    split: Callable[[tf.Tensor], tf.RaggedTensor]
    unknown: int
    start: int
    end: int | None
    first_word: int


# By the value of --tokens: the library's own, which is the way of the CMPM release, and that of SCAN, BFAN and VSRN.
RULES = {
    "library": TokenRule(split_words, unknown=UNK, start=START, end=None, first_word=SPECIAL),
    "release": TokenRule(split_release_words, unknown=3, start=1, end=2, first_word=4),
}


class Vocabulary:
    """Words and their ids, which begin where `RULES` has the first word.

    Args:
        words: distinct words in the order of their ids.
        tokens: how texts are cut, one of `RULES`.

    Raises:
        UserError: if a word occurs twice or has white space in it.
    """

    def __init__(self, words: Sequence[str], tokens: str = "library"):
        self.words, self.rule = list(words), RULES[tokens]
        if len(set(self.words)) < len(self.words):
            twice = collections.Counter(self.words).most_common(1)[0][0]
            raise UserError(f"The vocabulary holds the word {twice!r} twice; build it again from the captions.")
        for word in self.words:
            if word.split() != [word]:
                raise UserError(f"The vocabulary holds {word!r}, which is not one word; build it again.")

    def __len__(self) -> int:
        """The number of ids, special ones included."""
        return self.rule.first_word + len(self.words)

    @classmethod
    def build(
        cls,
        captions: Iterable[str],
        min_count: int = 3,
        max_size: int | None = None,
        extra_words: Iterable[str] = (),
        tokens: str = "library",
    ) -> Vocabulary:
        """Counts the words of `captions` and numbers them by descending frequency, equal ones by alphabet.

        Args:
            captions: texts of the training split.
            min_count: rarer words become unknown.
            max_size: largest number of ids, special ones included; the rarest words go first.
            extra_words: kept however rare they are (words known from elsewhere, say from word vectors).
            tokens: how texts are cut, one of `RULES`.

        Raises:
            UserError: if no word is left.
        """
        counts = _count_words(captions, RULES[tokens].split)
        extra = {word for word in extra_words if word.split() == [word]}
        kept = {word for word, count in counts.items() if count >= min_count} | extra
        words = sorted(kept, key=lambda word: (-counts[word], word))
        if max_size is not None:
            words = words[: max(max_size - RULES[tokens].first_word, 0)]
        if not words:
            raise UserError(
                f"No word occurs {min_count} times in the training captions; lower --min_count or add some."
            )
        return cls(words, tokens)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes one word a line, UTF-8; the file is whole or not there at all."""
        write_atomically(path, "".join(f"{word}\n" for word in self.words))

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Vocabulary:
        """Reads what `save` wrote.

        Raises:
            UserError: if the file is missing or no vocabulary.
        """
        try:
            text = pathlib.Path(path).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"The vocabulary {os.fspath(path)} cannot be read: {error}.") from error
        return cls(text.split("\n")[:-1])


def _count_words(
    captions: Iterable[str], split: Callable[[tf.Tensor], tf.RaggedTensor]
) -> collections.Counter[str]:
    """Counts with the same ops that later tokenise, so that no word is split two ways."""
    counts: collections.Counter[bytes] = collections.Counter()
    chunk: list[str] = []

    def flush() -> None:
        if chunk:
            counts.update(split(tf.constant(chunk)).flat_values.numpy().tolist())
            chunk.clear()

    for caption in captions:
        chunk.append(caption)
        if len(chunk) == _CHUNK:
            flush()
    flush()
    return collections.Counter({word.decode("utf-8"): count for word, count in counts.items()})


@keras.saving.register_keras_serializable(package="xmkeras")
class Tokenizer(keras.layers.Layer):
    """Strings (batch,) -> int32 ids (batch, length): START, then one id a word, zeros behind.

    The length is that of the longest text, at most `max_tokens`, rounded up to a multiple of
    `pad_to_multiple` (few lengths, few shapes to compile). By the library's rule there is no end token: the CMPM
    release drops it before its encoder; by that of the releases END stands behind the last word that is kept. Core,
    stateless TensorFlow ops only: nothing that an export has to track.

    Args:
        vocabulary: a `Vocabulary`, or its words in the order of their ids.
        max_tokens: longer texts are cut; START and END count.
        pad_to_multiple: see above; 1 pads to the longest text.
        tokens: how texts are cut, one of `RULES`.
    """

    def __init__(
        self,
        vocabulary: Vocabulary | Sequence[str],
        max_tokens: int = 64,
        pad_to_multiple: int = 8,
        tokens: str = "library",
        **kwargs: Any,
    ) -> None:
        super().__init__(**{"name": "tokenizer", "trainable": False, **kwargs})
        self.tokens, self.rule = tokens, RULES[tokens]
        least = 1 if self.rule.end is None else 2
        if max_tokens < least or pad_to_multiple < 1:
            raise UserError(
                f"max_tokens={max_tokens} must be at least {least}, and pad_to_multiple={pad_to_multiple} at least 1."
            )
        self.words = list(vocabulary.words if isinstance(vocabulary, Vocabulary) else vocabulary)
        self.max_tokens = max_tokens
        self.pad_to_multiple = pad_to_multiple
        self.supports_jit = False
        # Not the layer's own conversion: it would take a list of str for a structure of inputs.
        self._convert_input_args = False
        self._allow_non_tensor_positional_args = True
        self._index = WordIndex(self.words)
        self.built = True

    @property
    def vocabulary_size(self) -> int:
        """The number of ids, special ones included."""
        return self.rule.first_word + len(self.words)

    def tokenize(self, texts: Any) -> tf.RaggedTensor:
        """The words of each text: strings (batch,) -> ragged strings (batch, words)."""
        return self.rule.split(tf.convert_to_tensor(texts, tf.string))

    def words_of(self, text: str) -> list[str]:
        """What stands at each position of a text's ids, "" where that is no word."""
        end = [] if self.rule.end is None else [""]
        words = self.tokenize([text])[0].numpy()[: self.max_tokens - 1 - len(end)]
        return ["", *(word.decode("utf-8", "replace") for word in words), *end]

    def call(self, texts: Any) -> tf.Tensor:
        end = [] if self.rule.end is None else [self.rule.end]
        words = self.tokenize(texts)[:, : self.max_tokens - 1 - len(end)]
        ids = words.with_flat_values(self._look_up(words.flat_values))
        count = words.nrows()
        framed = [tf.fill([count, 1], self.rule.start), ids, *(tf.fill([count, 1], one) for one in end)]
        padded = tf.concat(framed, axis=1).to_tensor(PAD)
        width = tf.shape(padded)[1]
        length = -(-tf.maximum(width, 1) // self.pad_to_multiple) * self.pad_to_multiple
        return tf.pad(padded, [[0, 0], [0, length - width]], constant_values=PAD)

    def _look_up(self, words: tf.Tensor) -> tf.Tensor:
        """The ids of words, strings (n,) -> int32 (n,)."""
        place = self._index.finder()(words)
        return tf.where(place >= 0, place + self.rule.first_word, self.rule.unknown)

    def compute_output_spec(self, texts: keras.KerasTensor) -> keras.KerasTensor:
        return keras.KerasTensor((texts.shape[0], None), "int32")

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "vocabulary": self.words,
            "max_tokens": self.max_tokens,
            "pad_to_multiple": self.pad_to_multiple,
            "tokens": self.tokens,
        }
