"""Readers: what one side of a table's rows looks like in a batch, pictures, vectors, sentences or token vectors."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
from collections.abc import Callable
from typing import Protocol, TypeGuard

import keras
import numpy as np
import tensorflow as tf

from xmkeras.data import images, pipeline
from xmkeras.data.rows import RowTable
from xmkeras.data.stacked import Array, Stacked

Entries = pipeline.Entries
# As tokenizers pad, so that what is read from a cache has the shape, and with it the dropout, of what is computed.
PAD_TO_MULTIPLE = 8
# TensorFlow aligns its tensors to so many bytes, and fails hard on others.
_ALIGNMENT = 64


class Reader(Protocol):
    """One side of a batch: from numbers of rows and captions to the entries that an encoder takes, in graph."""

    @property
    def per_example(self) -> bool:
        """Whether `read` takes one example, so that many are read in parallel, or a whole batch."""

    def read(self, rows: tf.Tensor, captions: tf.Tensor, positions: tf.Tensor) -> Entries:
        """The entries of int64 rows, numbers of their captions and positions in the run, each () or (B,).

        Raises:
            tf.errors.OpError: when run, if an input is broken.
        """

    def present(self, items: Items) -> np.ndarray:
        """bool (k,): which items are not known to be broken; of a picture that is only known once it is read."""

    def fault(self, row: int) -> str:
        """What is wrong with the input of a row; "" when nothing is."""

    def by_size(self, items: Items) -> np.ndarray:
        """The numbers of items, like sizes side by side, so that a batch is padded little."""

    def stamp(self) -> object:
        """Whatever decides what is read, of the same `repr` in every process: what a cache made of it depends on."""


@dataclasses.dataclass(frozen=True)
class Items:
    """What one side of a table holds, each item once, and where the rows and captions find theirs.

    Attributes:
        rows, captions: int64 (k,), a row and the number of a caption that stand for each item.
        place: int64, the item of each row, or of each caption of each row where `starts` is given.
        starts: int64 (rows,), where in `place` the captions of a row begin.
        counts: int64 (rows,), how many captions a row has.
    """

    rows: np.ndarray
    captions: np.ndarray
    place: np.ndarray
    starts: np.ndarray | None = None
    counts: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.rows)

    @classmethod
    def of(cls, side: str, table: RowTable, *, distinct: bool = False) -> Items:
        """The images or the texts of a table."""
        return cls.images(table) if side == "image" else cls.texts(table, distinct=distinct)

    @classmethod
    def images(cls, table: RowTable) -> Items:
        """The distinct images, in the order of their first rows."""
        first = table.distinct_images()
        number = np.zeros(int(table.image_index.max()) + 1, np.int64)
        number[table.image_index[first]] = np.arange(len(first))
        return cls(first, np.zeros_like(first), number[table.image_index])

    @classmethod
    def texts(cls, table: RowTable, *, distinct: bool = False) -> Items:
        """Every caption of every row, row by row; with `distinct`, equal captions are one item."""
        counts = np.array([len(captions) for captions in table.captions], np.int64)
        starts = np.cumsum(counts) - counts
        rows = np.repeat(np.arange(len(table)), counts)
        captions = np.arange(len(rows)) - starts[rows]
        place, first = np.arange(len(rows)), np.arange(len(rows))
        if distinct:
            numbers: dict[str, int] = {}
            place = np.array([numbers.setdefault(text, len(numbers)) for own in table.captions for text in own])
            first = np.unique(place, return_index=True)[1]
        return cls(rows[first], captions[first], place, starts, counts)

    def at(self, rows: np.ndarray | int, captions: np.ndarray | int = 0) -> np.ndarray:
        """The items of rows and their captions."""
        return self.place[rows if self.starts is None else self.starts[rows] + captions]

    def find(self, rows: tf.Tensor, captions: tf.Tensor) -> tf.Tensor:
        """The same in graph; caption numbers count round the captions of their row."""
        if self._starts is not None:
            rows = tf.gather(self._starts, rows) + captions % tf.gather(self._counts, rows)
        return tf.gather(self._place, rows)

    @functools.cached_property
    def _place(self) -> tf.Tensor:
        return outside_graph(self.place)

    @functools.cached_property
    def _starts(self) -> tf.Tensor | None:
        return None if self.starts is None else outside_graph(self.starts)

    @functools.cached_property
    def _counts(self) -> tf.Tensor | None:
        return None if self.counts is None else outside_graph(self.counts)


@dataclasses.dataclass(frozen=True)
class Pictures:
    """Decoded images: `image` float32 (H, W, 3) in 0..255, or (views, H, W, 3).

    Args:
        table: whose images are read.
        size: (height, width) of the result.
        augmentation: how an image is varied, a function of (seed, position).
        seed: of the variations.
        views: 0 for one varied image; n for the plain image and n - 1 variations of it, the second of which is the
            mirrored image where the augmentation only flips.
    """

    table: RowTable
    size: images.Size
    augmentation: images.Augmentation = dataclasses.field(default_factory=images.Augmentation)
    seed: int = 0
    views: int = 0
    per_example = True

    def read(self, rows: tf.Tensor, captions: tf.Tensor, positions: tf.Tensor) -> Entries:
        data = self.table.read_image(rows)
        if not self.views:
            return {"image": self._varied(data, positions)}
        plain = pipeline.loader(self.size, images.Augmentation())(data, tf.zeros(2, tf.int64))
        seen = [plain, tf.reverse(plain, [1])][: self.views if self.augmentation.only_flips else 1]
        for view in range(len(seen), self.views):
            seen.append(self._varied(data, rows * self.views + view))
        return {"image": tf.stack(seen)}

    def present(self, items: Items) -> np.ndarray:
        return np.ones(len(items), bool)

    def fault(self, row: int) -> str:
        try:
            # Eagerly: a compiled function would bury the message in its graph's.
            images.load(self.table.read_image(tf.constant(row, tf.int64)), self.size)
        except tf.errors.OpError as error:
            return pipeline.fault_of(error.message)
        return ""

    def by_size(self, items: Items) -> np.ndarray:
        return np.arange(len(items))

    def stamp(self) -> object:
        pixels = images.VERSION, self.size, self.augmentation, self.views, self.seed
        return self.table.fingerprint(), self.table.image_stamp(), *pixels

    def _varied(self, data: tf.Tensor, position: tf.Tensor) -> tf.Tensor:
        seed = tf.stack([tf.constant(self.seed, tf.int64), position])
        return pipeline.loader(self.size, self.augmentation)(data, seed)


@dataclasses.dataclass(frozen=True)
class Vectors:
    """Rows of an array in memory or in mapped files, which are gathered from and never copied: float32 (B, ...).

    Args:
        entry: name of the batch entry.
        array: (k, ...) floats, one an item, or (k, views, ...); NaN marks an item that could not be made.
        items: where rows and captions find theirs.
        views: the second axis holds so many views of each item, of which each time one is drawn; 0: it holds none.
        seed: of the draws.
    """

    entry: str
    array: Array
    items: Items
    views: int = 0
    seed: int = 0
    per_example = False

    def read(self, rows: tf.Tensor, captions: tf.Tensor, positions: tf.Tensor) -> Entries:
        places = self.items.find(rows, captions)
        values = tf.cast(self._gather(places), tf.float32)
        if self.views:
            seed = tf.stack([tf.constant(self.seed, tf.int64), positions[0]])
            drawn = tf.random.stateless_uniform(tf.shape(places), seed, maxval=self.views, dtype=tf.int32)
            values = tf.gather(values, drawn, axis=1, batch_dims=1)
        return {self.entry: tf.debugging.check_numerics(values, "the vector of a broken input")}

    def plain(self) -> Vectors:
        """The same without the varied views: of each item the first one alone."""
        return dataclasses.replace(self, array=self.array[:, 0], views=0) if self.views else self

    def present(self, items: Items) -> np.ndarray:
        return ~self._missing(self.items.at(items.rows, items.captions))

    def fault(self, row: int) -> str:
        missing = self._missing(self.items.at(np.array([row])))
        return "it could not be read when the features were made." if missing[0] else ""

    def by_size(self, items: Items) -> np.ndarray:
        return np.arange(len(items))

    def stamp(self) -> object:
        return self.entry, _digest(self.array), _digest(self.items.place), self.views, self.seed

    @functools.cached_property
    def _gather(self) -> Gather:
        return gatherer(self.array)

    def _missing(self, places: np.ndarray) -> np.ndarray:
        """bool (k,): whether the items at these places could not be made."""
        missing = np.empty(len(places), bool)
        # An item is missing as a whole, so its first number tells, and of a mapped file no more is read.
        for parts, start in _parts(self.array):
            here = (places >= start) & (places < start + len(parts))
            missing[here] = np.isnan(parts.reshape(len(parts), -1)[places[here] - start, 0])
        return missing


@dataclasses.dataclass(frozen=True)
class Several:
    """The entries of several readers of the same items beside one another.

    Args:
        readers: one or more that take whole batches; what is missing or large is that of the first.
    """

    readers: tuple[Reader, ...]
    per_example = False

    def read(self, rows: tf.Tensor, captions: tf.Tensor, positions: tf.Tensor) -> Entries:
        return {name: value for one in self.readers for name, value in one.read(rows, captions, positions).items()}

    def plain(self) -> Several:
        """See `Vectors.plain`."""
        return Several(tuple(one.plain() if isinstance(one, Vectors) else one for one in self.readers))

    def present(self, items: Items) -> np.ndarray:
        return self.readers[0].present(items)

    def fault(self, row: int) -> str:
        return self.readers[0].fault(row)

    def by_size(self, items: Items) -> np.ndarray:
        return self.readers[0].by_size(items)

    def stamp(self) -> object:
        return tuple(one.stamp() for one in self.readers)


@dataclasses.dataclass(frozen=True)
class TokenVectors:
    """Many vectors an item, one item behind the other: float32 (B, L, f) and which are there, bool (B, L).

    Args:
        entries: names of the batch entries of the vectors and of the mask.
        values: float32 (t, f), in memory or in a mapped file.
        starts: int64 (k + 1,), where each item begins, and the end of the last.
        items: where rows and captions find theirs; -1 for one that could not be made.
    """

    entries: tuple[str, str]
    values: np.ndarray
    starts: np.ndarray
    items: Items
    per_example = False

    def read(self, rows: tf.Tensor, captions: tf.Tensor, positions: tf.Tensor) -> Entries:
        places = self.items.find(rows, captions)
        first = tf.gather(self._starts, places)
        counts = tf.gather(self._starts, places + 1) - first
        length = -(-tf.maximum(tf.reduce_max(counts), 1) // PAD_TO_MULTIPLE) * PAD_TO_MULTIPLE
        steps = tf.range(length)
        mask = steps < counts[:, None]
        vectors = tf.gather(self._values, tf.where(mask, first[:, None] + steps, 0))
        return dict(zip(self.entries, (tf.where(mask[..., None], vectors, 0.0), mask), strict=True))

    def present(self, items: Items) -> np.ndarray:
        return self.items.at(items.rows, items.captions) >= 0

    def fault(self, row: int) -> str:
        return "" if self.items.at(row) >= 0 else "it could not be read when its vectors were made."

    def by_size(self, items: Items) -> np.ndarray:
        return np.argsort(np.diff(self.starts)[self.items.at(items.rows, items.captions)], kind="stable")

    def stamp(self) -> object:
        return self.entries, _digest(self.values), _digest(self.items.place)

    @functools.cached_property
    def _values(self) -> tf.Tensor:
        return outside_graph(self.values)

    @functools.cached_property
    def _starts(self) -> tf.Tensor:
        return outside_graph(self.starts)


@dataclasses.dataclass(frozen=True)
class Sentences:
    """Captions as token ids: `text` int32 (B, L).

    Args:
        table: whose captions are read.
        tokenize: a layer, strings (B,) -> int32 ids (B, L) in graph operations.
    """

    table: RowTable
    tokenize: keras.layers.Layer
    per_example = False

    def read(self, rows: tf.Tensor, captions: tf.Tensor, positions: tf.Tensor) -> Entries:
        ids = self.tokenize(tf.gather(self._texts, self._items.find(rows, captions)))
        return {"text": tf.ensure_shape(ids, (rows.shape[0], None))}

    def present(self, items: Items) -> np.ndarray:
        return np.ones(len(items), bool)

    def fault(self, row: int) -> str:
        return ""

    def by_size(self, items: Items) -> np.ndarray:
        places = zip(items.rows, items.captions, strict=True)
        return np.argsort([len(self.table.captions[row][caption]) for row, caption in places], kind="stable")

    def stamp(self) -> object:
        return self.table.captions, self.tokenize.get_config()

    @functools.cached_property
    def _items(self) -> Items:
        return Items.texts(self.table)

    @functools.cached_property
    def _texts(self) -> tf.Tensor:
        return outside_graph(np.array([text.encode() for own in self.table.captions for text in own], object))


Gather = Callable[[tf.Tensor], tf.Tensor]


def gatherer(array: Array) -> Gather:
    """A function of the present graph from places int64 (b,) to rows (b, ...); a mapped file is never copied."""
    if isinstance(array, Stacked):
        return _stacked_gatherer(array)
    if _is_mapped(array) and not _gatherable(array):
        # TensorFlow cannot hold it: NumPy of before 2018 began the data of a file at any multiple of 16 bytes.
        def gather(places: tf.Tensor) -> tf.Tensor:
            rows = tf.numpy_function(lambda numbers: array[numbers], [places], array.dtype, stateful=False)
            return tf.ensure_shape(rows, (*places.shape, *array.shape[1:]))

        return gather
    tensor = outside_graph(array)
    return lambda places: tf.gather(tensor, places)


def _stacked_gatherer(array: Stacked) -> Gather:
    gathers, starts = [gatherer(part) for part in array.parts], outside_graph(array.starts)

    def gather(places: tf.Tensor) -> tf.Tensor:
        part = tf.searchsorted(starts, places, side="right") - 1
        split = functools.partial(tf.dynamic_partition, partitions=part, num_partitions=len(gathers))
        own = split(places - tf.gather(starts, part))
        rows = [one(numbers) for one, numbers in zip(gathers, own, strict=True)]
        found = tf.dynamic_stitch(split(tf.range(tf.size(places))), rows)
        return tf.ensure_shape(found, (*places.shape, *array.shape[1:]))

    return gather


def _parts(array: Array) -> list[tuple[np.ndarray, int]]:
    """The arrays that an array is made of, and where each begins."""
    return list(zip(array.parts, array.starts, strict=False)) if isinstance(array, Stacked) else [(array, 0)]


def outside_graph(array: np.ndarray) -> tf.Tensor:
    """An array as a tensor that graphs hold by reference; a mapped file stays on disk until it is gathered from."""
    with tf.init_scope(), tf.device("CPU"):
        if _is_mapped(array) and _gatherable(array):
            # Private pages of the same file: DLPack hands over what may be written to, and nothing here writes.
            writable = np.memmap(str(array.filename), array.dtype, "c", _offset(array), array.shape)
            return tf.experimental.dlpack.from_dlpack(writable.__dlpack__())
        return tf.constant(array)


def _digest(array: Array) -> str:
    """What tells an array from others of its shape; of a large one some rows stand for all."""
    rows = array[:: max(1, len(array) // 1000)]
    return hashlib.sha256(f"{array.shape} {array.dtype}".encode() + np.ascontiguousarray(rows).tobytes()).hexdigest()


def _is_mapped(array: np.ndarray) -> TypeGuard[np.memmap]:
    # What was computed of a mapped file is still called a memmap, but has no file.
    return isinstance(array, np.memmap) and array.filename is not None


def _gatherable(array: np.ndarray) -> bool:
    return array.flags.c_contiguous and array.ctypes.data % _ALIGNMENT == 0


def _offset(array: np.memmap) -> int:
    """Where in its file an array begins, which may be a part of the one that was mapped."""
    whole = array
    while isinstance(whole.base, np.memmap):
        whole = whole.base
    return int(whole.offset + array.ctypes.data - whole.ctypes.data)
