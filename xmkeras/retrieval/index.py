"""Search among images: a folder is embedded once, then only what is new or changed, and searched exactly."""

import fcntl
import hashlib
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import faiss
import numpy as np

from xmkeras.bars import progress
from xmkeras.errors import UserError
from xmkeras.retrieval.scores import normalised
from xmkeras.retrieval.store import Entry, VectorStore

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp")

Embed = Callable[[list[bytes]], tuple[np.ndarray, np.ndarray]]
IndexScore = Literal["cosine", "euclidean"]

# What is kept of an embedding.
_KEPT: dict[IndexScore, Callable[[np.ndarray], np.ndarray]] = {
    "cosine": normalised,
    "euclidean": lambda vectors: np.asarray(vectors, np.float32),
}


@dataclass(frozen=True)
class ImageIndex:
    """Images that can be searched by vector.

    paths: (n,) names of the images, as they are returned. vectors: (n, d) float32, of unit length for the cosine and
    as they are for the Euclidean distance, memory-mapped when they come from disk. broken: sentences about the files
    that could not be embedded. embedded, forgotten: how many files the last update has embedded, and how many it has
    dropped because they are gone. score: of the model. notes: sentences about the index on disk, where it was damaged
    or cannot be written.
    """

    paths: Sequence[str]
    vectors: np.ndarray
    broken: list[str] = field(default_factory=list)
    embedded: int = 0
    forgotten: int = 0
    score: IndexScore = "cosine"
    notes: list[str] = field(default_factory=list)

    @classmethod
    def open_or_update(
        cls,
        folder: str | os.PathLike[str],
        cache_dir: str | os.PathLike[str],
        embed: Embed,
        model_fingerprint: str,
        *,
        score: IndexScore = "cosine",
        batch: int = 64,
    ) -> "ImageIndex":
        """The index of all images below `folder`, brought up to date.

        A file is embedded when its path, size or time of change is not known yet for this model, and
        forgotten when it is gone. What was embedded is kept after every batch, so that a killed process
        continues where it was; a second process waits for the first. Hidden files and folders are left out.

        cache_dir: where indexes are kept, one a folder and model. embed: the encoded images of a batch ->
        their vectors (n, d) and which of them are valid (n,). model_fingerprint: changes when the model does.
        score: by which the model was evaluated.
        Raises UserError when there is no such folder or no image in it that can be read.
        """
        root = Path(folder)
        files = dict(_scan(root))
        if not files:
            raise UserError(f"no images in {root}: looked for {', '.join(SUFFIXES)} there and in its subfolders")
        # Indexes made before there was another score hold unit vectors, and keep their names.
        model = [model_fingerprint.encode(), *([] if score == "cosine" else [score.encode()])]
        key = hashlib.sha256(b"\n".join([os.fsencode(root.resolve()), *model])).hexdigest()
        place = Path(cache_dir) / key[:20]
        notes: list[str] = []
        with _locked(place, notes) as folder_of_index:
            store = VectorStore(folder_of_index)
            if store.damage:
                notes.append(f"The index {place} was damaged ({store.damage}), and is made again.")
            known = store.entries.copy()
            todo = [path for path in files if path not in known or known[path].stamp != files[path]]
            try:
                _embed(store, root, [(path, files[path]) for path in todo], embed, _KEPT[score], batch)
                store.keep(files)
            except OSError as error:
                raise UserError(f"cannot write the index {place} ({error.strerror}); what is done is kept") from error
        gone = known.keys() - files.keys()
        index = cls._of(store, root)
        return replace(index, embedded=len(todo), forgotten=len(gone), score=score, notes=notes)

    @classmethod
    def _of(cls, store: VectorStore, root: Path) -> "ImageIndex":
        entries = store.entries.values()
        broken = [f"{root / entry.path} {entry.fault}" for entry in entries if entry.fault]
        paths = [str(root / entry.path) for entry in entries if not entry.fault]
        if not paths:
            raise UserError(f"none of the {len(broken)} images in {root} can be read; the first: {broken[0]}")
        return cls(paths, store.vectors, broken)

    def __len__(self) -> int:
        return len(self.paths)

    def search(self, vectors: np.ndarray, k: int = 10) -> tuple[list[list[str]], np.ndarray]:
        """The k images of the highest score with each query vector, best first.

        vectors: (q, d) or (d,), of any length; k is cut to the size of the index.
        Returns the paths, q lists of k, and their scores (q, k) float32: cosines, or minus the distances.
        Raises ValueError when d is not that of the index.
        """
        queries = _KEPT[self.score](np.atleast_2d(vectors))
        if queries.shape[1] != self.vectors.shape[1]:
            raise ValueError(f"queries of {queries.shape[1]} numbers, an index of {self.vectors.shape[1]}")
        k = min(k, len(self))
        # Reads the memory-mapped vectors in place; an index object would hold a second copy of them.
        if self.score == "cosine":
            scores, places = faiss.knn(queries, self.vectors, k, metric=faiss.METRIC_INNER_PRODUCT)
        else:
            squares, places = faiss.knn(queries, self.vectors, k, metric=faiss.METRIC_L2)
            scores = -np.sqrt(np.maximum(squares, 0))
        return [[self.paths[place] for place in row] for row in places], scores


def _embed(
    store: VectorStore,
    root: Path,
    files: list[tuple[str, tuple[int, int]]],
    embed: Embed,
    kept: Callable[[np.ndarray], np.ndarray],
    batch: int,
) -> None:
    starts = range(0, len(files), batch)
    label = f"embedding {root}"
    for start in progress(starts, len(files), label, size=lambda start: min(batch, len(files) - start)):
        entries, images = [], []
        for path, stamp in files[start : start + batch]:
            entry = Entry(path, *stamp)
            try:
                images.append((root / path).read_bytes())
            except OSError as error:
                entry = Entry(path, *stamp, fault=f"cannot be read ({error.strerror})")
            entries.append(entry)
        store.append(*_checked(entries, images, embed, kept))


def _checked(
    entries: list[Entry], images: list[bytes], embed: Embed, kept: Callable[[np.ndarray], np.ndarray]
) -> tuple[list[Entry], np.ndarray]:
    """The entries, those that cannot be embedded marked, and the vectors kept of the others."""
    if not images:
        return entries, np.empty((0, 0), np.float32)
    vectors, valid = embed(images)
    vectors = kept(vectors)
    good = np.asarray(valid, bool) & np.isfinite(vectors).all(axis=1)
    verdicts = iter(good)
    checked = [
        entry if entry.fault or next(verdicts) else replace(entry, fault="is not an image that can be decoded")
        for entry in entries
    ]
    return checked, vectors[good]


def _scan(root: Path, below: str = "") -> Iterator[tuple[str, tuple[int, int]]]:
    """All image files: path relative to `root` and (size, time of change in ns), in the order of names."""
    try:
        with os.scandir(root / below) as listing:
            entries = sorted(listing, key=lambda entry: entry.name)
    except OSError as error:
        if below:
            return
        raise UserError(f"cannot list the folder {root} ({error.strerror}); --images names a folder") from error
    for entry in entries:
        if entry.name.startswith("."):
            continue
        path = os.path.join(below, entry.name)
        if entry.is_dir(follow_symlinks=False):
            yield from _scan(root, path)
        elif entry.name.lower().endswith(SUFFIXES) and entry.is_file():
            status = entry.stat()
            yield path, (status.st_size, status.st_mtime_ns)


@contextmanager
def _locked(place: Path, notes: list[str]) -> Iterator[Path]:
    """The folder of an index, for this process alone; where `place` cannot be written one that is gone afterwards."""
    with ExitStack() as stack:
        try:
            place.mkdir(parents=True, exist_ok=True)
            fcntl.flock(stack.enter_context(open(place / "lock", "w")), fcntl.LOCK_EX)
            tempfile.TemporaryFile(dir=place).close()
        except OSError as error:
            notes.append(
                f"The index {place} cannot be written ({error.strerror}), so that all images are embedded each time; "
                "--index=FOLDER keeps it elsewhere."
            )
            place = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        yield place
