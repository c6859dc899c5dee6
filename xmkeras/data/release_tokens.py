"""Words as the releases of SCAN, BFAN and VSRN cut them: NLTK's `word_tokenize` on lower case, in graph."""

from __future__ import annotations

import json
import os

import tensorflow as tf

from xmkeras.errors import UserError

# The ids in front of the first word, in order.
SPECIAL = ("<pad>", "<start>", "<end>", "<unk>")
# What stands for a character that a later rule must not see; neither is in any text.
_DOT, _QUOTE = "\x01", "\x02"
# Words whose full stop ends no sentence: of NLTK's English model those that captions have.
_ABBREVIATIONS = (
    r"mr|mrs|ms|dr|st|jr|sr|vs|lt|col|gen|maj|prof|rep|sen|inc|co|corp|ltd|bros|ave|ft|mg|yr|jan|feb|aug|sept?|oct|nov|dec|"
    r"a\.m|p\.m|u\.s|u\.s\.a|u\.k|u\.n|l\.a|d\.c|n\.y|n\.c|n\.j|j\.p|ph\.d|fla|calif|wash|tenn"
)

# (pattern, rewrite) in order: the rules of NLTK's NLTKWordTokenizer in RE2, which cannot look around, behind a stand-in
# for its splitter of sentences, of which only the full stop at a sentence's end shows in the words.
_RULES: tuple[tuple[str, str], ...] = (
    (r"[\x01\x02]", " "),
    # Sentences: a full stop and white space end one, unless behind an abbreviation, an initial or a number, or where a
    # quotation ends.
    (rf"\b({_ABBREVIATIONS})\.(\s)", rf"\1{_DOT}\2"),
    (r"(^|[^.\pL\pN])(\pL|\d+)\.(\s)", rf"\1\2{_DOT}\3"),
    (r'\.(\s+"(?:\s|$))', rf"{_DOT}\1"),
    (r"([^.\s])\.([\])}>\"'»\x{2019}\x{201d}]*\s)", r"\1 .\2 "),
    (_DOT, "."),
    # Opening quotes.
    (r"([«\x{2018}\x{201c}\x{201e}]|`+)", r" \1 "),
    (r'^"', "`` "),
    (r"([ (\[{<])(\"|'')", r"\1 `` "),
    (r"(^|[^\pL\pN_])'(re|ve|ll|m|t|s|d|n)\b", rf"\1{_QUOTE}\2"),
    (r"(^|[^\pL\pN_])'([\pL\pN_])", r"\1' \2"),
    (_QUOTE, "'"),
    # Punctuation.
    (r"([^.])\.([\])}>\"'»\x{2019}\x{201d} ]*)\s*$", r"\1 . \2 "),
    (r"([:,])([^\d])", r" \1 \2"),
    (r"([:,])$", r" \1 "),
    (r"(\.{2,}|[;@#$%&\x{2012}-\x{2015}?!])", r" \1 "),
    (r"([^'])' ", r"\1 ' "),
    (r"([*\]\[(){}<>]|--)", r" \1 "),
    # Closing quotes and contractions.
    (r"$", " "),
    (r"([»\x{2019}\x{201d}]|'')", r" \1 "),
    (r'"', " '' "),
    (r"\s+", " "),
    (r"([^' ])('s|'m|'d|') ", r"\1 \2 "),
    (r"([^' ])('ll|'re|'ve|n't) ", r"\1 \2 "),
    (r"\b(can|gim|gon|got|lem|wan)(not|me|na|ta)\b", r"\1 \2"),
    (r"\b(d|more)('ye|'n)\b", r"\1 \2"),
    (r"(\s't)(is|was)\b", r"\1 \2"),
)


def split_release_words(texts: tf.Tensor) -> tf.RaggedTensor:
    """Lower-cases and cuts as NLTK does: strings (n,) -> ragged strings (n, words), punctuation being words too.

    "A man's dog can't run." gives a, man, 's, dog, ca, n't, run, and the full stop.
    """
    texts = tf.strings.unicode_transcode(texts, "UTF-8", "UTF-8")
    texts = tf.strings.lower(texts, encoding="utf-8")
    for pattern, rewrite in _RULES:
        texts = tf.strings.regex_replace(texts, pattern, rewrite)
    return tf.strings.split(texts)


def find_vocabulary(path: str, root: str | os.PathLike[str]) -> str:
    """A path as it is where it exists, else below the root of the data."""
    return path if os.path.exists(path) else os.path.join(root, path)


def read_vocabulary(path: str | os.PathLike[str]) -> list[str]:
    """The words of a vocabulary JSON of the releases in the order of their ids, from 4 on.

    Such a file holds "word2idx", from word to id in any order.

    Raises:
        UserError: there is no such file, or it is no such vocabulary.
    """
    try:
        with open(path, encoding="utf-8") as file:
            ids: dict[str, int] = json.load(file)["word2idx"]
        words = sorted(ids, key=ids.__getitem__)
        sound = [ids[word] for word in words] == list(range(len(words))) and tuple(words[: len(SPECIAL)]) == SPECIAL
    except OSError as error:
        raise UserError(f"The vocabulary {os.fspath(path)} cannot be read: {error.strerror}.") from error
    except (ValueError, KeyError, TypeError, AttributeError):
        sound, words = False, []
    if not sound:
        raise UserError(
            f'{os.fspath(path)} is no vocabulary of the releases: expected JSON with "word2idx", which numbers '
            f"{', '.join(SPECIAL)} and then the words from 0 on without a gap."
        )
    return words[len(SPECIAL) :]
