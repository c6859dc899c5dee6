"""Pretrained word vectors: from a file, or from the MiniLM encoder that a pip package ships.

With them the vocabulary is larger than the training captions: a word that training has never seen still has a vector
near those of its kin, which matters most where captions are few.
"""

from __future__ import annotations

import os
import pathlib
import sys
import unicodedata
from typing import Protocol

import numpy as np

from xmkeras.data.minilm import MiniLm, model_folder
from xmkeras.data.text import Vocabulary
from xmkeras.errors import UserError


class WordVectors(Protocol):
    """Where word vectors come from.

    Attributes:
        words: words that enter the vocabulary whether training captions hold them or not.
        dim: size of a vector.
    """

    words: list[str]
    dim: int

    def of(self, words: list[str]) -> np.ndarray:
        """Vectors (n, dim) float32; a word that has none gets zeros."""


def load_word_vectors(source: str, cache: str | os.PathLike[str]) -> WordVectors | None:
    """The vectors of `--word_vectors`: None for "none", those of MiniLM for "minilm", else of a file.

    Args:
        source: see above; a file is an .npz with `words` (n,) and `vectors` (n, dim).
        cache: folder that keeps vectors computed with MiniLM.

    Raises:
        UserError: the file cannot be read or does not fit, or MiniLM is not installed.
    """
    if source == "none":
        return None
    if source == "minilm":
        return MiniLmVectors(pathlib.Path(cache))
    return FileVectors(source)


def matrix(vectors: WordVectors, vocabulary: Vocabulary) -> np.ndarray:
    """The word table of a vocabulary, (V, dim) float32 of mean square 1; no word is 0, the unknown one the mean."""
    table = np.zeros((len(vocabulary), vectors.dim), np.float32)
    words = table[vocabulary.rule.first_word :]
    words[:] = vectors.of(vocabulary.words)
    known = words[np.abs(words).sum(axis=1) > 0]
    if not len(known):
        raise UserError("None of the words of the captions has a vector; are they of another language?")
    table[vocabulary.rule.unknown] = known.mean(axis=0)
    return table / np.sqrt(np.mean(known**2))


class FileVectors:
    """Vectors of an .npz file of `words` and `vectors`."""

    def __init__(self, path: str):
        try:
            with np.load(path, allow_pickle=False) as file:
                self.words = [str(word) for word in file["words"]]
                self._vectors = np.asarray(file["vectors"], np.float32)
        except (OSError, KeyError, ValueError) as error:
            raise UserError(
                f"--word_vectors={path} cannot be read ({error}); give none, minilm, or an .npz file that holds "
                "`words` (n,) and `vectors` (n, dim)."
            ) from error
        if self._vectors.ndim != 2 or len(self._vectors) != len(self.words):
            raise UserError(f"{path} holds {len(self.words)} words but vectors of shape {self._vectors.shape}.")
        self._rows = {word: row for row, word in enumerate(self.words)}
        self.dim = int(self._vectors.shape[1])

    def of(self, words: list[str]) -> np.ndarray:
        vectors = np.zeros((len(words), self.dim), np.float32)
        for number, word in enumerate(words):
            if word in self._rows:
                vectors[number] = self._vectors[self._rows[word]]
        return vectors


def symbol_words() -> set[str]:
    """The words of the names of Unicode's symbols: concrete things that are too rare to be one word piece."""
    words: set[str] = set()
    for code in range(sys.maxunicode + 1):
        if unicodedata.category(chr(code)) in ("So", "Sm", "Sc", "Sk"):
            name = unicodedata.name(chr(code), "").lower().replace("-", " ")
            words.update(word for word in name.split() if len(word) > 1 and word.isalpha())
    return words


class MiniLmVectors:
    """MiniLM's sentence vector of every word; those of the common English words are computed once and kept."""

    def __init__(self, cache: pathlib.Path):
        self._model = MiniLm(model_folder())
        self.words = [*self._model.words, *sorted(symbol_words() - set(self._model.words))]
        self._cache = cache / "word_vectors" / f"minilm_{len(self.words)}.npy"
        self.dim = self._model.dim

    def of(self, words: list[str]) -> np.ndarray:
        common = dict(zip(self.words, self._common(), strict=True))
        rare = [word for word in words if word not in common]
        found = common | dict(zip(rare, self._model.encode_words(rare), strict=True))
        return np.array([found[word] for word in words], np.float32).reshape(len(words), self.dim)

    def _common(self) -> np.ndarray:
        if self._cache.is_file():
            return np.load(self._cache)
        vectors = self._model.encode_words(self.words)
        self._cache.parent.mkdir(parents=True, exist_ok=True)
        partial = self._cache.with_name(f".{self._cache.stem}.{os.getpid()}.npy")
        np.save(partial, vectors)
        partial.replace(self._cache)
        return vectors
