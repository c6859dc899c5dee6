"""Word vectors from a file, and the table they make of a vocabulary."""

from __future__ import annotations

import pathlib

import numpy as np
import pytest

from xmkeras.data.text import PAD, SPECIAL, START, UNK, Vocabulary
from xmkeras.data.word_vectors import load_word_vectors, matrix, symbol_words
from xmkeras.errors import UserError


@pytest.fixture
def file(tmp_path: pathlib.Path) -> pathlib.Path:
    path = tmp_path / "vectors.npz"
    np.savez(path, words=np.array(["red", "blue", "green"]), vectors=np.array([[1.0, 0], [0, 3], [2, 2]]))
    return path


def test_none_is_none(tmp_path: pathlib.Path):
    assert load_word_vectors("none", tmp_path) is None


def test_the_table_holds_the_vectors_at_one_scale(file: pathlib.Path, tmp_path: pathlib.Path):
    vectors = load_word_vectors(str(file), tmp_path)
    assert vectors is not None
    assert (vectors.dim, vectors.words) == (2, ["red", "blue", "green"])
    vocabulary = Vocabulary.build(["red dog", "red sky"], min_count=1, extra_words=vectors.words)
    table = matrix(vectors, vocabulary)
    rows = dict(zip(vocabulary.words, table[SPECIAL:], strict=True))
    assert table.shape == (len(vocabulary), 2)
    known = np.array([rows[word] for word in ("red", "blue", "green")])
    assert np.mean(known**2) == pytest.approx(1)
    np.testing.assert_allclose(rows["blue"] / rows["red"][0], [0, 3])
    np.testing.assert_allclose(table[UNK], known.mean(axis=0), rtol=1e-5)
    for row in (rows["dog"], rows["sky"], table[PAD], table[START]):
        assert not row.any()


def test_faults_of_a_file_are_one_sentence(tmp_path: pathlib.Path):
    with pytest.raises(UserError, match=r"none\.npz cannot be read"):
        load_word_vectors(str(tmp_path / "none.npz"), tmp_path)
    np.savez(tmp_path / "bad.npz", words=np.array(["a", "b"]), vectors=np.zeros((3, 2)))
    with pytest.raises(UserError, match="2 words but vectors of shape"):
        load_word_vectors(str(tmp_path / "bad.npz"), tmp_path)


def test_a_vocabulary_without_any_known_word_is_an_error(file: pathlib.Path, tmp_path: pathlib.Path):
    vectors = load_word_vectors(str(file), tmp_path)
    assert vectors is not None
    with pytest.raises(UserError, match="another language"):
        matrix(vectors, Vocabulary(["rouge", "bleu"]))


def test_words_of_symbols_are_plain_and_rare_ones_are_there():
    words = symbol_words()
    assert {"loudspeaker", "sagittarius", "anguished", "heart"} <= words
    assert all(word.isalpha() and word == word.lower() for word in words)
    assert 2000 < len(words) < 10_000
