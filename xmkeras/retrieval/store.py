"""Vectors of files on disk: an append-only journal while they are made, one memory-mapped array afterwards.

    files.json      the entries, and the name of the array that belongs to them; replaced in one move
    vectors-*.npy   (n, d) float32, one row for each entry without a fault, in their order
    journal.jsonl   the entries since then, one a line
    journal.f32     their vectors

A process may be killed at any moment: the journal is cut to what is complete, and an array is used only once
files.json names it.
"""

import dataclasses
import json
import os
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from xmkeras.errors import UserError
from xmkeras.files import write_atomically

_BLOCK = 4096


@dataclasses.dataclass(frozen=True, slots=True)
class Entry:
    """A file: its path, size in bytes, time of change in ns, and why it has no vector ("" if it has one)."""

    path: str
    size: int
    changed: int
    fault: str = ""

    @property
    def stamp(self) -> tuple[int, int]:
        return self.size, self.changed


class VectorStore:
    """The entries and vectors kept in a folder; a later entry of a path replaces the earlier one.

    entries: by path, in the order of the last `keep`. vectors: (n, d), memory-mapped, complete after `keep`.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.entries: dict[str, Entry] = {}
        self.vectors = np.empty((0, 0), np.float32)
        # Where the vector of a path lies: a row of the array, or of the journal as -1 - row.
        self._rows: dict[str, int] = {}
        self._load()
        self._journal = _Journal(folder)
        for entry in self._journal.recovered:
            self._add(entry)

    def append(self, entries: list[Entry], vectors: np.ndarray) -> None:
        """Keeps entries, and vectors (n, d) of those without a fault; once it returns, a kill loses nothing.

        Raises ValueError when d is not that of the vectors kept before.
        """
        kept = self.vectors if len(self.vectors) else self._journal.vectors()
        if len(kept) and len(vectors) and kept.shape[1] != vectors.shape[1]:
            raise ValueError(f"vectors of {vectors.shape[1]} numbers, but {kept.shape[1]} are kept for this model")
        self._journal.append(entries, vectors)
        for entry in entries:
            self._add(entry)

    def keep(self, paths: Iterable[str]) -> None:
        """Forgets all paths but these, and puts array and journal together in the order of `paths`."""
        entries = {path: self.entries[path] for path in paths}
        if self._journal.count == 0 and list(entries) == list(self.entries):
            return
        self.entries = entries
        rows = np.array([self._rows[path] for path, entry in entries.items() if not entry.fault], np.int64)
        name = f"vectors-{uuid.uuid4().hex[:12]}.npy"
        self._write_array(self.folder / name, rows)
        files = {"vectors": name, "files": [dataclasses.astuple(entry) for entry in entries.values()]}
        write_atomically(self.folder / "files.json", json.dumps(files).encode())
        self._journal.clear()
        self._load()

    def _add(self, entry: Entry) -> None:
        self.entries[entry.path] = entry
        if not entry.fault:
            self._rows[entry.path] = -1 - self._journal_rows
            self._journal_rows += 1

    def _load(self) -> None:
        self.entries, self._rows, self._journal_rows = {}, {}, 0
        if not (self.folder / "files.json").exists():
            return
        try:
            files = json.loads((self.folder / "files.json").read_bytes())
            self.entries = {values[0]: Entry(*values) for values in files["files"]}
            good = [path for path, entry in self.entries.items() if not entry.fault]
            self._rows = {path: row for row, path in enumerate(good)}
            self.vectors = np.load(self.folder / files["vectors"], mmap_mode="r" if good else None)
        except (OSError, ValueError) as error:
            raise UserError(f"the index {self.folder} is damaged ({error}): delete that folder") from error
        for left_over in self.folder.glob("vectors-*.npy"):
            if left_over.name != files["vectors"]:
                left_over.unlink()

    def _write_array(self, path: Path, rows: np.ndarray) -> None:
        fresh = self._journal.vectors()
        dim = (fresh if len(fresh) else self.vectors).shape[1]
        with open(path, "wb") as file:
            header = {"descr": "<f4", "fortran_order": False, "shape": (len(rows), dim)}
            np.lib.format.write_array_header_1_0(file, header)
            for start in range(0, len(rows), _BLOCK):
                block, old = rows[start : start + _BLOCK], rows[start : start + _BLOCK] >= 0
                vectors = np.empty((len(block), dim), "<f4")
                vectors[old] = self.vectors[block[old]] if old.any() else 0
                vectors[~old] = fresh[-1 - block[~old]] if not old.all() else 0
                file.write(vectors.tobytes())
            file.flush()
            os.fsync(file.fileno())


class _Journal:
    """Entries and vectors in the order in which they came."""

    def __init__(self, folder: Path) -> None:
        self._lines, self._floats = folder / "journal.jsonl", folder / "journal.f32"
        self._dim = 0
        self.recovered = self._recover()
        self.count = len(self.recovered)

    def append(self, entries: list[Entry], vectors: np.ndarray) -> None:
        self._dim = self._dim or vectors.shape[1]
        with open(self._floats, "ab") as file:
            file.write(np.ascontiguousarray(vectors, "<f4").tobytes())
        # A line counts only once its vector is there.
        with open(self._lines, "a", encoding="utf-8") as lines:
            lines.writelines(json.dumps([self._dim, *dataclasses.astuple(entry)]) + "\n" for entry in entries)
        self.count += len(entries)

    def vectors(self) -> np.ndarray:
        """(n, d) all vectors, memory-mapped."""
        if not self._floats.exists() or not self._floats.stat().st_size:
            return np.empty((0, self._dim), np.float32)
        return np.memmap(self._floats, "<f4", "r").reshape(-1, self._dim)

    def clear(self) -> None:
        self._lines.unlink(missing_ok=True)
        self._floats.unlink(missing_ok=True)
        self.count, self._dim = 0, 0

    def _recover(self) -> list[Entry]:
        if not self._lines.exists():
            self.clear()
            return []
        entries, rows, length = [], 0, 0
        size = self._floats.stat().st_size if self._floats.exists() else 0
        for line, dim, entry in self._complete_lines():
            self._dim = dim
            rows += not entry.fault
            if 4 * dim * rows > size:
                rows -= 1
                break
            entries.append(entry)
            length += len(line)
        os.truncate(self._lines, length)
        if size:
            os.truncate(self._floats, 4 * self._dim * rows)
        return entries

    def _complete_lines(self) -> Iterator[tuple[bytes, int, Entry]]:
        with open(self._lines, "rb") as lines:
            for line in lines:
                if not line.endswith(b"\n"):
                    return
                try:
                    dim, *values = json.loads(line)
                except ValueError:
                    return
                yield line, dim, Entry(*values)
