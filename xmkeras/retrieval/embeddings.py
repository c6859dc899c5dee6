"""A split's embeddings on disk: ids, labels and vectors, written in a stream and read back memory-mapped."""

import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

import numpy as np

from xmkeras.errors import UserError
from xmkeras.retrieval.sequences import Block, Rows, Sequences

_IDS, _LABELS, _VECTORS, _STARTS = "ids.jsonl", "labels.npy", "vectors.npy", "starts.npy"


@dataclass(frozen=True)
class EmbeddingSet:
    """The embeddings of n items; item i is (ids[i], labels[i], vectors[i]).

    ids: (n,) strings. For an image its image id, for a text the id of the image it describes, so that
        several texts share one.
    labels: (n,) int64 classes or identities.
    vectors: (n, d) float32, not normalised, or Sequences of such; memory maps when loaded, so that a large set costs
        no memory. Or the places of the items in a score matrix, int64 (n, 1): see `score_matrix.by_place`.

    Raises ValueError when the three do not have the same length.
    """

    ids: np.ndarray
    labels: np.ndarray
    vectors: Any  # an array nearly everywhere: only `block`, `save` and `score_matrix` meet Sequences

    def __post_init__(self) -> None:
        ragged = isinstance(self.vectors, Sequences)
        if not (ragged or self.vectors.ndim == 2) or not len(self.ids) == len(self.labels) == len(self.vectors):
            raise ValueError(
                f"ids {self.ids.shape}, labels {self.labels.shape} and {len(self.vectors)} vectors must be (n,), (n,), "
                "and (n, d) or n sequences"
            )

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, rows: Rows) -> "EmbeddingSet":
        """The items at `rows` (integers, a boolean mask or a slice), in that order."""
        return EmbeddingSet(self.ids[rows], self.labels[rows], self.vectors[rows])

    def block(self, rows: Rows) -> Block:
        """What a score takes of the items at `rows`: float32 (b, d), of sequences (b, n, d) and its mask (b, n)."""
        if isinstance(self.vectors, Sequences):
            return self.vectors.padded(rows)
        return np.asarray(self.vectors[rows], np.float32)

    def save(self, folder: str | os.PathLike[str], *, block: int = 4096) -> None:
        """Writes the set to `folder`, replacing what is there only once everything is on disk."""
        ragged = isinstance(self.vectors, Sequences)
        with EmbeddingWriter(folder, (self.vectors.values if ragged else self.vectors).shape[1]) as writer:
            for start in range(0, len(self), block):
                part = slice(start, start + block)
                vectors = self.block(part)
                writer.append(self.ids[part], self.labels[part], *(vectors if ragged else (vectors,)))

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> "EmbeddingSet":
        """Reads a set, its vectors memory-mapped; raises UserError where there is none or it is damaged."""
        try:
            with open(Path(folder) / _IDS, encoding="utf-8") as lines:
                ids = np.array([json.loads(line) for line in lines], dtype=np.str_)
            labels = np.load(Path(folder) / _LABELS)
            # Not every numpy can map a file without elements.
            mode: Literal["r"] | None = "r" if len(ids) else None
            vectors = np.load(Path(folder) / _VECTORS, mmap_mode=mode)
            if not (Path(folder) / _STARTS).exists():
                return cls(ids, labels, vectors)
            return cls(ids, labels, Sequences(vectors, np.load(Path(folder) / _STARTS, mmap_mode=mode)))
        except FileNotFoundError as error:
            raise UserError(
                f"no embeddings in {folder}: {error.filename} is missing; run the evaluation again"
            ) from error
        except (ValueError, EOFError) as error:
            raise UserError(f"the embeddings in {folder} are damaged ({error}); run the evaluation again") from error


class EmbeddingWriter:
    """Streams embeddings to `folder`, a batch at a time, in constant memory.

    Use it as a context manager, or call `close`. Until then `folder` keeps what it held before, and when the
    block is left by an exception it keeps it for good.
    """

    def __init__(self, folder: str | os.PathLike[str], dim: int) -> None:
        self.folder, self.dim = Path(folder), dim
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        self._partial = Path(tempfile.mkdtemp(prefix=f".{self.folder.name}-", dir=self.folder.parent))
        self._ids = open(self._partial / _IDS, "w", encoding="utf-8")  # noqa: SIM115 - closed by close()
        self._labels = _GrowingArray(self._partial / _LABELS, np.int64)
        self._vectors = _GrowingArray(self._partial / _VECTORS, np.float32, dim)
        self._starts: _GrowingArray | None = None

    @property
    def count(self) -> int:
        """How many items have been added."""
        return self._labels.count

    def append(
        self,
        ids: Iterable[str],
        labels: Sequence[int] | np.ndarray,
        vectors: np.ndarray,
        mask: np.ndarray | None = None,
    ) -> None:
        """Adds b items: b ids, (b,) integer labels, and (b, dim) vectors, or sequences (b, n, dim) with mask (b, n).

        Raises ValueError when the shapes differ, and when only some of the batches are sequences.
        """
        ids, labels, vectors = list(ids), np.asarray(labels, np.int64), np.asarray(vectors, np.float32)
        words = () if mask is None else np.shape(mask)[1:]
        if labels.shape != (len(ids),) or vectors.shape != (len(ids), *words, self.dim):
            raise ValueError(f"{len(ids)} ids, labels {labels.shape}, vectors {vectors.shape} are not n of {self.dim}")
        if self._starts is None and mask is not None and not self.count:
            self._starts = _GrowingArray(self._partial / _STARTS, np.int64)
            self._starts.append(np.zeros(1))
        if (mask is None) != (self._starts is None):
            raise ValueError("a set holds either vectors or sequences: give each batch a mask, or none")
        if self._starts is not None and mask is not None:
            self._starts.append(self._vectors.count + np.cumsum(np.sum(mask, axis=1, dtype=np.int64)))
            vectors = vectors[np.asarray(mask, bool)]
        self._ids.writelines(json.dumps(str(one), ensure_ascii=False) + "\n" for one in ids)
        self._labels.append(labels)
        self._vectors.append(vectors)

    def close(self) -> EmbeddingSet:
        """Puts the finished set in place and returns it, memory-mapped."""
        self._ids.flush()
        os.fsync(self._ids.fileno())
        self._ids.close()
        for array in self._arrays():
            array.finish()
        self._swap_in()
        return EmbeddingSet.load(self.folder)

    def _arrays(self) -> list["_GrowingArray"]:
        return [array for array in (self._labels, self._vectors, self._starts) if array is not None]

    def _swap_in(self) -> None:
        old = self._partial.with_name(self._partial.name + "-old")
        if self.folder.exists():
            os.replace(self.folder, old)
        os.replace(self._partial, self.folder)
        shutil.rmtree(old, ignore_errors=True)

    def __enter__(self) -> "EmbeddingWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
            return
        for file in (self._ids, *(array.file for array in self._arrays())):
            file.close()
        shutil.rmtree(self._partial, ignore_errors=True)


class _GrowingArray:
    """An .npy file written in parts: numpy pads its header so that the first axis can grow in place."""

    def __init__(self, path: Path, dtype: type, *tail: int) -> None:
        self.dtype, self.tail, self.count = np.dtype(dtype), tail, 0
        self.file = open(path, "w+b")  # noqa: SIM115 - closed by finish()
        self._write_header()

    def append(self, rows: np.ndarray) -> None:
        self.file.write(np.ascontiguousarray(rows, self.dtype).tobytes())
        self.count += len(rows)

    def finish(self) -> None:
        self._write_header()
        self.file.flush()
        os.fsync(self.file.fileno())
        self.file.close()

    def _write_header(self) -> None:
        self.file.seek(0)
        header = {"descr": self.dtype.str, "fortran_order": False, "shape": (self.count, *self.tail)}
        np.lib.format.write_array_header_1_0(self.file, header)
        self.file.seek(0, os.SEEK_END)
