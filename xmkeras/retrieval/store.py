"""Vectors of files on disk: an append-only journal while they are made, one memory-mapped array afterwards.

    files.json      the entries, and the name and checksum of the array that belongs to them; replaced in one move
    vectors-*.npy   (n, d) float32, one row for each entry without a fault, in their order
    journal.jsonl   the entries since then, one a line, each with the checksum of its vector
    journal.f32     their vectors

All of it can be made again: what is damaged is thrown away. A process may be killed at any moment: the journal is cut
to what is complete, and an array is used only once files.json names it.
"""

import dataclasses
import json
import os
import uuid
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

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

    entries: by path, in the order of the last `keep`. vectors: (n, d), memory-mapped, complete after `keep`. damage:
    what was wrong with what the folder held, which then was thrown away; "" where nothing was.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.entries: dict[str, Entry] = {}
        self.vectors = np.empty((0, 0), np.float32)
        # Where the vector of a path lies: a row of the array, or of the journal as -1 - row.
        self._rows: dict[str, int] = {}
        self.damage = ""
        try:
            self._load()
        except (OSError, ValueError, KeyError, TypeError, AttributeError, EOFError) as error:
            self.damage = str(error) or type(error).__name__
            self._forget()
        self._journal = _Journal(folder, self.vectors.shape[1])
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
        crc = self._write_array(self.folder / name, rows)
        files = {"vectors": name, "crc": crc, "files": [dataclasses.astuple(entry) for entry in entries.values()]}
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
        files = json.loads((self.folder / "files.json").read_bytes())
        self.entries = {values[0]: Entry(*values) for values in files["files"]}
        good = [path for path, entry in self.entries.items() if not entry.fault]
        self._rows = {path: row for row, path in enumerate(good)}
        self.vectors = np.load(self.folder / files["vectors"], mmap_mode="r" if good else None)
        if self.vectors.dtype != np.float32 or self.vectors.ndim != 2 or len(self.vectors) != len(good):
            raise ValueError(f"{files['vectors']} has not a vector for each file")
        # Indexes of earlier versions have no checksum.
        if _crc(self.vectors) != files.get("crc", _crc(self.vectors)):
            raise ValueError(f"{files['vectors']} has not the bytes that were written")
        for left_over in self.folder.glob("vectors-*.npy"):
            if left_over.name != files["vectors"]:
                left_over.unlink()

    def _forget(self) -> None:
        """Throws away all that the folder holds."""
        self.entries, self._rows, self._journal_rows = {}, {}, 0
        self.vectors = np.empty((0, 0), np.float32)
        for name in ("files.json", "journal.jsonl", "journal.f32"):
            (self.folder / name).unlink(missing_ok=True)
        for array in self.folder.glob("vectors-*.npy"):
            array.unlink()

    def _write_array(self, path: Path, rows: np.ndarray) -> int:
        """Writes the vectors of those rows; their checksum."""
        crc = 0
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
                crc = zlib.crc32(vectors.tobytes(), crc)
            file.flush()
            os.fsync(file.fileno())
        return crc


def _crc(array: np.ndarray) -> int:
    """The checksum of the numbers of an array, a block at a time."""
    crc = 0
    for start in range(0, len(array), _BLOCK):
        crc = zlib.crc32(np.ascontiguousarray(array[start : start + _BLOCK]).tobytes(), crc)
    return crc


class _Journal:
    """Entries and vectors in the order in which they came; of vectors of `dim` numbers, if not 0."""

    def __init__(self, folder: Path, dim: int) -> None:
        self._lines, self._floats = folder / "journal.jsonl", folder / "journal.f32"
        self._dim = dim
        self.recovered = self._recover()
        self.count = len(self.recovered)

    def append(self, entries: list[Entry], vectors: np.ndarray) -> None:
        self._dim = self._dim or vectors.shape[1]
        rows = [row.tobytes() for row in np.ascontiguousarray(vectors, "<f4")]
        with open(self._floats, "ab") as file:
            file.writelines(rows)
        # A line counts only once its vector is there.
        of_entry = iter(rows)
        crcs = [0 if entry.fault else zlib.crc32(next(of_entry)) for entry in entries]
        with open(self._lines, "a", encoding="utf-8") as lines:
            for entry, crc in zip(entries, crcs, strict=True):
                lines.write(json.dumps([self._dim, crc, *dataclasses.astuple(entry)]) + "\n")
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
        """The entries whose lines and vectors are whole; what comes after the first that is not is cut off."""
        entries: list[Entry] = []
        rows, length, known = 0, 0, self._dim
        with open(self._floats, "a+b") as floats:
            floats.seek(0)
            for line, dim, crc, entry in self._complete_lines():
                if known not in (0, dim) or (dim < 1 and not entry.fault):
                    break
                if not entry.fault and zlib.crc32(floats.read(4 * dim)) != crc:
                    break
                known = self._dim = dim
                rows += not entry.fault
                entries.append(entry)
                length += len(line)
        if not entries:
            self.clear()
            return []
        os.truncate(self._lines, length)
        os.truncate(self._floats, 4 * self._dim * rows)
        return entries

    def _complete_lines(self) -> Iterator[tuple[bytes, int, int, Entry]]:
        if not self._lines.is_file():
            return
        with open(self._lines, "rb") as lines:
            for line in lines:
                try:
                    dim, crc, path, size, changed, fault = json.loads(line)
                except (ValueError, TypeError):
                    return
                whole = all(isinstance(number, int) for number in (dim, crc, size, changed))
                if not (line.endswith(b"\n") and whole and isinstance(path, str) and isinstance(fault, str)):
                    return
                yield line, dim, crc, Entry(path, size, changed, fault)
