"""The token vectors that a frozen text encoder makes of captions, as padded batches."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np


@dataclasses.dataclass(frozen=True)
class TokenVectors:
    """The token vectors of all captions, one caption behind the other; each distinct caption is there once.

    Attributes:
        vectors: float32 (tokens, f), a memory map where they lie on disk.
        starts: int64 (captions + 1,), where each caption begins, and the end of the last.
        numbers: the number of each caption.
        pad_to_multiple: batches are padded as by a tokenizer with this setting and two special tokens left out.
    """

    vectors: np.ndarray
    starts: np.ndarray
    numbers: Mapping[str, int]
    pad_to_multiple: int = 8

    @property
    def width(self) -> int:
        """Size f of a vector."""
        return int(self.vectors.shape[1])

    def batch(self, captions: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """The vectors of captions, float32 (B, L, f), zeros behind, and which are there, bool (B, L).

        Raises:
            KeyError: a caption is not among them.
        """
        numbers = np.array([self.numbers[caption] for caption in captions], np.int64)
        first, counts = self.starts[numbers], self.starts[numbers + 1] - self.starts[numbers]
        length = -(-(int(counts.max(initial=1)) + 2) // self.pad_to_multiple) * self.pad_to_multiple - 2
        mask = np.arange(length) < counts[:, None]
        states = np.zeros((*mask.shape, self.width), np.float32)
        states[mask] = self.vectors[(first[:, None] + np.arange(length))[mask]]
        return states, mask
