"""A split's embeddings on disk: ids, labels and vectors, written in a stream and read back memory-mapped."""

import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

import numpy as np

from xmkeras.errors import UserError

_IDS, _LABELS, _VECTORS = "ids.jsonl", "labels.npy", "vectors.npy"


@dataclass(frozen=True)
class EmbeddingSet:
    """The embeddings of n items; item i is (ids[i], labels[i], vectors[i]).

    ids: (n,) strings. For an image its image id, for a text the id of the image it describes, so that
        several texts share one.
    labels: (n,) int64 classes or identities.
    vectors: (n, d) float32, not normalised; a memory map when loaded, so that a large set costs no memory.

    Raises ValueError when the three do not have the same length.
    """

    ids: np.ndarray
    labels: np.ndarray
    vectors: np.ndarray

    def __post_init__(self) -> None:
        if self.vectors.ndim != 2 or not len(self.ids) == len(self.labels) == len(self.vectors):
            raise ValueError(
                f"ids {self.ids.shape}, labels {self.labels.shape} and vectors {self.vectors.shape} must be "
                "(n,), (n,) and (n, d)"
            )

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, rows: np.ndarray) -> "EmbeddingSet":
        """The items at `rows` (integers or a boolean mask), in that order."""
        return EmbeddingSet(self.ids[rows], self.labels[rows], self.vectors[rows])

    def save(self, folder: str | os.PathLike[str], *, block: int = 4096) -> None:
        """Writes the set to `folder`, replacing what is there only once everything is on disk."""
        with EmbeddingWriter(folder, self.vectors.shape[1]) as writer:
            for start in range(0, len(self), block):
                part = slice(start, start + block)
                writer.append(self.ids[part], self.labels[part], self.vectors[part])

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> "EmbeddingSet":
        """Reads a set, its vectors memory-mapped; raises UserError where there is none or it is damaged."""
        try:
            with open(Path(folder) / _IDS, encoding="utf-8") as lines:
                ids = np.array([json.loads(line) for line in lines], dtype=np.str_)
            labels = np.load(Path(folder) / _LABELS)
            # numpy cannot map a file without elements.
            vectors = np.load(Path(folder) / _VECTORS, mmap_mode="r" if len(ids) else None)
            return cls(ids, labels, vectors)
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
        self.folder, self.dim, self.count = Path(folder), dim, 0
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        self._partial = Path(tempfile.mkdtemp(prefix=f".{self.folder.name}-", dir=self.folder.parent))
        self._ids = open(self._partial / _IDS, "w", encoding="utf-8")  # noqa: SIM115 - closed by close()
        self._labels = open(self._partial / _LABELS, "w+b")  # noqa: SIM115
        self._vectors = open(self._partial / _VECTORS, "w+b")  # noqa: SIM115
        self._write_headers()

    def append(self, ids: Iterable[str], labels: Sequence[int] | np.ndarray, vectors: np.ndarray) -> None:
        """Adds b items: b ids, (b,) integer labels, (b, dim) vectors; ValueError when the shapes differ."""
        ids, labels = list(ids), np.asarray(labels, np.int64)
        vectors = np.ascontiguousarray(vectors, np.float32)
        if vectors.shape != (len(ids), self.dim) or labels.shape != (len(ids),):
            raise ValueError(f"{len(ids)} ids, labels {labels.shape}, vectors {vectors.shape} are not n of {self.dim}")
        self._ids.writelines(json.dumps(str(one), ensure_ascii=False) + "\n" for one in ids)
        self._labels.write(labels.tobytes())
        self._vectors.write(vectors.tobytes())
        self.count += len(ids)

    def close(self) -> EmbeddingSet:
        """Puts the finished set in place and returns it, memory-mapped."""
        self._write_headers()
        for file in (self._ids, self._labels, self._vectors):
            file.flush()
            os.fsync(file.fileno())
            file.close()
        self._swap_in()
        return EmbeddingSet.load(self.folder)

    def _swap_in(self) -> None:
        old = self._partial.with_name(self._partial.name + "-old")
        if self.folder.exists():
            os.replace(self.folder, old)
        os.replace(self._partial, self.folder)
        shutil.rmtree(old, ignore_errors=True)

    def _write_headers(self) -> None:
        # numpy pads its headers so that the first axis can grow in place.
        self._write_header(self._labels, np.int64, (self.count,))
        self._write_header(self._vectors, np.float32, (self.count, self.dim))

    @staticmethod
    def _write_header(file: BinaryIO, dtype: type, shape: tuple[int, ...]) -> None:
        file.seek(0)
        header = {"descr": np.dtype(dtype).str, "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        file.seek(0, os.SEEK_END)

    def __enter__(self) -> "EmbeddingWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
            return
        for file in (self._ids, self._labels, self._vectors):
            file.close()
        shutil.rmtree(self._partial, ignore_errors=True)
