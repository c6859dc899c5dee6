"""Words as the releases of SCAN, BFAN and VSRN cut them: NLTK's `word_tokenize` on lower case, in graph."""

from __future__ import annotations

import tensorflow as tf

# What stands for a character that a later rule must not see; neither is in any text.
_DOT, _QUOTE = "\x01", "\x02"
_WORD = r"[\pL\pN_]"
# Words whose full stop ends no sentence: of NLTK's English model those that captions have.
_ABBREVIATIONS = (
    r"mr|mrs|ms|dr|st|jr|sr|vs|lt|col|gen|maj|prof|rep|sen|inc|co|corp|ltd|bros|ave|ft|mg|yr|jan|feb|aug|sept?|oct|nov|dec|"
    r"a\.m|p\.m|u\.s|u\.s\.a|u\.k|u\.n|l\.a|d\.c|n\.y|n\.c|n\.j|j\.p|ph\.d|fla|calif|wash|tenn"
)

# (pattern, rewrite) in order: the rules of NLTK's NLTKWordTokenizer in RE2, which cannot look around, behind a stand-in
# for its splitter of sentences, of which only the full stop at a sentence's end shows in the words.
_RULES: tuple[tuple[str, str], ...] = (
    (r"[\x01\x02]", " "),
    # Sentences: a full stop and white space end one, unless behind an abbreviation, an initial or a number, or where a quotation ends.
    (rf"\b({_ABBREVIATIONS}|\pL|\d+)\.(\s)", rf"\1{_DOT}\2"),
    (r'\.(\s+"(?:\s|$))', rf"{_DOT}\1"),
    (r"([^.\s])\.([\])}>\"'»”’]*\s)", r"\1 . \2 "),
    (_DOT, "."),
    # Opening quotes.
    (r"([«“‘„]|`+)", r" \1 "),
    (r'^"', "`` "),
    (r"([ (\[{<])(\"|'')", r"\1 `` "),
    (rf"(^|[^\pL\pN_])'(re|ve|ll|m|t|s|d|n)\b", rf"\1{_QUOTE}\2"),
    (rf"(^|[^\pL\pN_])'({_WORD})", r"\1' \2"),
    (_QUOTE, "'"),
    # Punctuation.
    (r"([^.])\.([\])}>\"'»”’ ]*)\s*$", r"\1 . \2 "),
    (r"([:,])([^\d])", r" \1 \2"),
    (r"([:,])$", r" \1 "),
    (r"(\.{2,}|[;@#$%&\x{2012}-\x{2015}?!])", r" \1 "),
    (r"([^'])' ", r"\1 ' "),
    (r"([*\]\[(){}<>]|--)", r" \1 "),
    # Closing quotes and contractions.
    (r"$", " "),
    (r"([»”’]|'')", r" \1 "),
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
