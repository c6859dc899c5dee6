import itertools
import json
import pathlib

import keras
import numpy as np
import pytest
import tensorflow as tf

from xmkeras.data.text import PAD, START, UNK, Tokenizer, Vocabulary, split_words
from xmkeras.errors import UserError

VECTORS = json.loads((pathlib.Path(__file__).parents[1] / "vectors.json").read_text("utf-8"))
WORDS = ["a", "red", "dress", "in", "woman"]


def words_of(text: str | bytes) -> list[str]:
    return [word.decode() for word in split_words(tf.constant([text]))[0].numpy()]


def test_the_published_example():
    """The encoder's input of the CMPM release: START is kept, END dropped, punctuation deleted."""
    example = VECTORS["caption_tokens"]
    wanted = example["expected"]["cmpl_encoder_input"]
    assert ["<START>", *words_of(example["inputs"]["caption"])] == wanted
    ids = Tokenizer(WORDS)([example["inputs"]["caption"]]).numpy()[0]
    names = {START: "<START>", **dict(enumerate(WORDS, 3))}
    assert [names[number] for number in ids if number != PAD] == wanted


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", []),
        ("  ...!  ", []),
        ("Don't: red-haired (T-shirt)", ["dont", "redhaired", "tshirt"]),
        ("tab\tand\nline\x0bfeed\x85next", ["tab", "and", "line", "feed", "next"]),
        ("wide\u3000and\u00a0hard\u2003spaces", ["wide", "and", "hard", "spaces"]),
        ("ÄRGER ÉTÉ ΣΊΣΥΦΟΣ", ["ärger", "été", "σίσυφος"]),
        ("«quoted» “so” ¿qué? 你好\uff0c世界\u3002", ["quoted", "so", "qué", "你好世界"]),
        ("zero\u200bwidth soft\u00adhyphen", ["zerowidth", "softhyphen"]),
        ("100% $5 a+b #tag", ["100", "5", "ab", "tag"]),
        (b"caf\xe9 is cut", ["caf\ufffd", "is", "cut"]),
    ],
)
def test_split_words(text, words):
    assert words_of(text) == words


def test_vocabulary_counts_by_frequency_then_alphabet():
    vocabulary = Vocabulary.build(["a red car", "A CAR!", "a zebra", "one bee"], min_count=1)
    assert vocabulary.words == ["a", "car", "bee", "one", "red", "zebra"]
    assert len(vocabulary) == 9


def test_vocabulary_drops_rare_words_and_keeps_extra_ones():
    captions = ["a a a b b c c c c"]
    assert Vocabulary.build(captions, min_count=3).words == ["c", "a"]
    assert Vocabulary.build(captions, min_count=3, extra_words=["z", "b"]).words == ["c", "a", "b", "z"]
    assert Vocabulary.build(captions, min_count=1, max_size=5).words == ["c", "a"]


def test_vocabulary_of_many_captions_does_not_depend_on_chunks():
    captions = (f"word{number % 50} again" for number in itertools.count())
    vocabulary = Vocabulary.build(itertools.islice(captions, 20_000), min_count=400)
    assert vocabulary.words == ["again", *sorted(f"word{number}" for number in range(50))]


def test_an_empty_vocabulary_is_explained():
    with pytest.raises(UserError, match="No word occurs 3 times"):
        Vocabulary.build(["only once"])


def test_save_and_load(tmp_path):
    vocabulary = Vocabulary(["ß", "a", "你好"])
    vocabulary.save(tmp_path / "words.txt")
    assert Vocabulary.load(tmp_path / "words.txt").words == vocabulary.words
    assert [path.name for path in tmp_path.iterdir()] == ["words.txt"]


def test_a_failed_save_leaves_the_old_file(tmp_path):
    Vocabulary(["old"]).save(tmp_path / "words.txt")
    broken = Vocabulary(["new"])
    broken.words = ["new", "\udc80"]
    with pytest.raises(UnicodeEncodeError):
        broken.save(tmp_path / "words.txt")
    assert Vocabulary.load(tmp_path / "words.txt").words == ["old"]
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("content", [b"twice\ntwice\n", b"two words\n", b"\xff\xfe\n", b"a\n\nb\n"])
def test_a_damaged_vocabulary_is_explained(tmp_path, content):
    (tmp_path / "words.txt").write_bytes(content)
    with pytest.raises(UserError, match="vocabulary"):
        Vocabulary.load(tmp_path / "words.txt")
    with pytest.raises(UserError, match="cannot be read"):
        Vocabulary.load(tmp_path / "missing.txt")


def test_ids_are_padded_to_a_multiple():
    tokenizer = Tokenizer(Vocabulary(WORDS))
    ids = tokenizer(["a red dress", "", "in zebra"])
    assert ids.dtype == tf.int32
    assert ids.numpy().tolist() == [
        [START, 3, 4, 5, PAD, PAD, PAD, PAD],
        [START] + [PAD] * 7,
        [START, 6, UNK] + [PAD] * 5,
    ]
    assert tokenizer(["a " * 7]).shape == (1, 8)
    assert tokenizer(["a " * 8]).shape == (1, 16)
    assert tokenizer.vocabulary_size == 8


def test_long_texts_are_cut():
    tokenizer = Tokenizer(WORDS, max_tokens=4, pad_to_multiple=1)
    assert tokenizer(["a red dress in red", "red"]).numpy().tolist() == [[2, 3, 4, 5], [2, 4, 0, 0]]


@pytest.mark.parametrize("tokens", ["library", "release"])
def test_the_words_of_a_text_stand_where_its_ids_do(tokens):
    tokenizer = Tokenizer(Vocabulary.build(["a dog runs"], 1, tokens=tokens), max_tokens=6, tokens=tokens)
    for text, words in (("A dog", ["a", "dog"]), ("a dog runs on and on", ["a", "dog", "runs", "on", "and"])):
        standing = tokenizer.words_of(text)
        (ids,) = tokenizer([text]).numpy()
        assert len(standing) == np.count_nonzero(ids)
        last = len(standing) - (tokens == "release")
        assert standing == ["", *words[: last - 1], *[""] * (len(standing) - last)]


def test_a_batch_of_no_texts_and_a_vocabulary_of_no_words():
    assert Tokenizer(WORDS)(tf.constant([], tf.string)).shape == (0, 8)
    assert Tokenizer([])(["a b"]).numpy().tolist() == [[2, 1, 1, 0, 0, 0, 0, 0]]


def test_every_word_of_a_large_vocabulary_is_found():
    words = [f"w{number}" for number in range(12_000)]
    ids = Tokenizer(words, max_tokens=12_001)([" ".join(words) + " stranger"]).numpy()[0]
    np.testing.assert_array_equal(ids[:12_001], [2, *range(3, 12_003)])
    longer = Tokenizer(words, max_tokens=12_002)([" ".join(words) + " stranger"]).numpy()[0]
    assert longer[12_001] == UNK


def test_wrong_sizes_are_explained():
    with pytest.raises(UserError, match="max_tokens=0"):
        Tokenizer(WORDS, max_tokens=0)


def test_in_a_functional_model_saved_and_loaded(tmp_path):
    inputs = keras.Input((), dtype="string")
    ids = Tokenizer(WORDS)(inputs)
    assert ids.shape == (None, None)
    assert ids.dtype == "int32"
    model = keras.Model(inputs, ids)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    texts = tf.constant(["a red dress", "zebra in"])
    np.testing.assert_array_equal(loaded(texts), Tokenizer(WORDS)(texts))


def test_config_round_trip():
    tokenizer = Tokenizer(Vocabulary(WORDS), max_tokens=9, pad_to_multiple=3)
    copy = Tokenizer.from_config(json.loads(json.dumps(tokenizer.get_config())))
    assert (copy.words, copy.max_tokens, copy.pad_to_multiple) == (WORDS, 9, 3)


def test_exports_without_being_tracked(tmp_path):
    tokenizer = Tokenizer(WORDS)
    module = tf.Module()
    module.ids = tf.function(lambda texts: tokenizer(texts), input_signature=[tf.TensorSpec((None,), tf.string)])
    tf.saved_model.save(module, str(tmp_path))
    loaded = tf.saved_model.load(str(tmp_path))
    assert loaded.ids(tf.constant(["A red, zebra"])).numpy().tolist() == [[2, 3, 4, 1, 0, 0, 0, 0]]


def test_real_captions_keep_their_words(shared):
    lines = (shared / "data" / "flickr8k_subset" / "pairs.jsonl").read_text("utf-8").splitlines()[:200]
    captions = [caption for line in lines for caption in json.loads(line)["captions"]]
    vocabulary = Vocabulary.build(captions)
    assert vocabulary.words[0] == "a"
    assert not set(".,;:!?'\"-()") & set("".join(vocabulary.words))
    ids = Tokenizer(vocabulary)(captions).numpy()
    assert (ids[:, 0] == START).all()
    assert (ids == UNK).sum() < 0.2 * (ids > PAD).sum()
