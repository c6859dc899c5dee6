"""What the frozen fronts of the encoders make of their inputs, computed once for a stage and kept on disk."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import pathlib
from collections.abc import Iterator, Mapping, Sequence

import keras
import numpy as np
import tensorflow as tf

from xmkeras.bars import progress
from xmkeras.config import Config
from xmkeras.data.passes import one_pass
from xmkeras.data.readers import Items, Reader, Several, TokenVectors, Vectors
from xmkeras.data.rows import RowTable
from xmkeras.errors import UserError
from xmkeras.files import explained, new_array
from xmkeras.method import Method
from xmkeras.models.encoder import Encoder, Part
from xmkeras.retrieval.embeddings import EmbeddingSet, EmbeddingWriter, Sequences
from xmkeras.run.directory import RunDirectory
from xmkeras.run.sides import Side, Views

_BATCH = 32
_RANK_OF_REGIONS = 3  # (B, n, c)


def readers_of(
    config: Config,
    run: RunDirectory,
    table: RowTable,
    sides: Mapping[str, Side],
    method: Method,
    *,
    training: bool,
    cached: bool = True,
) -> dict[str, Reader]:
    """The readers of a table for a stage whose frozen variables are frozen now.

    Args:
        config: of the run; --feature_cache switches the caches off, --feature_dir says where they lie, and
            --fold_batch_norm how they are computed.
        run: whose folder holds the caches otherwise.
        table: the rows of one split.
        sides: of the run.
        method: whose encoders may begin with something frozen.
        training: inputs are varied by augmentation.
        cached: read what the frozen fronts made.

    Raises:
        UserError: the disk is full.
    """
    folder = pathlib.Path(config.train.feature_dir) if config.train.feature_dir else run.features
    chosen: dict[str, Reader] = {}
    for name, side in sides.items():
        front = method.towers.sides[name].front() if cached and config.train.feature_cache else None
        if front is None:
            chosen[name] = side.reader(table, training)
            continue
        several = training and side.views is not None
        views = side.views(table) if several and side.views else Views(side.reader(table, False), 0)
        items = Items.of(name, table, distinct=True)
        chosen[name] = _cached(folder, name, views, items, front, config)
    return chosen


def _cached(folder: pathlib.Path, side: str, views: Views, items: Items, front: Encoder, config: Config) -> Reader:
    """A reader of what `front` makes of each item: arrays of one shape, of each view, or many vectors beside a mask."""
    last = front.parts[-1]
    entries = last.gives
    folds = config.train.fold_batch_norm
    kind = config.train.feature_type
    # What float32 adds nothing to keeps the name that it had before there was a choice.
    known = (views.reader.stamp(), config.train.precision, folds, *(() if kind == "float32" else (kind,)))
    digest = hashlib.sha256(repr(known).encode())
    for part in front.parts:
        for variable in part.model.weights:
            digest.update(np.asarray(variable).tobytes())
    stem = f"{side}-{digest.hexdigest()[:32]}"
    # A mask says which vectors of an item are there: their numbers differ.
    ragged = any(keras.backend.standardize_dtype(output.dtype) == "bool" for output in last.model.outputs)
    paths = [folder / stem] if ragged else [folder / f"{stem}{_suffix(side, name)}.npy" for name in entries]
    if not all(path.exists() for path in paths):
        made = _blocks(front.folded() if folds else front, views, items, entries, ragged)
        blocks = progress(made, len(items), f"features of {side}s", size=lambda block: len(block[0]))
        with explained(paths[0], "train with --nofeature_cache"):
            _write_ragged(paths[0], blocks) if ragged else _write(paths, _kinds(last, kind), len(items), blocks)
    if ragged:
        return _read_ragged(paths[0], entries, items)
    arrays = [
        Vectors(name, np.load(path, mmap_mode="r"), items, views.number, config.train.seed)
        for name, path in zip(entries, paths, strict=True)
    ]
    return arrays[0] if len(arrays) == 1 else Several(tuple(arrays))


def _suffix(side: str, entry: str) -> str:
    """What tells the file of an entry from others of one front; the pooled features have none."""
    return "" if entry == f"{side}_features" else f"-{entry.replace('/', '-')}"


def _kinds(part: Part, kind: str) -> list[str]:
    """The kind of number of each array: regions, of which an item has many, lie in half precision, others as chosen."""
    return ["float16" if len(output.shape) == _RANK_OF_REGIONS else kind for output in part.model.outputs]


def _blocks(
    front: Encoder, views: Views, items: Items, entries: tuple[str, ...], ragged: bool
) -> Iterator[tuple[np.ndarray, list[np.ndarray]]]:
    """Numbers of items (b,), and what the front makes of them."""

    @tf.function(reduce_retracing=True)
    def encode(batch: dict[str, tf.Tensor]) -> list[tf.Tensor]:
        made = front(batch, training=False)
        return [tf.cast(made[name], made[name].dtype if made[name].dtype.is_bool else tf.float32) for name in entries]

    # Like lengths side by side, so that little is padded.
    order = views.reader.by_size(items) if ragged else None
    for batch in one_pass(views.reader, items, batch_size=_BATCH, order=order):
        numbers = batch.pop("item").numpy()
        if not views.number:
            yield numbers, [value.numpy() for value in encode(batch)]
            continue
        seen = [encode({name: value[:, view] for name, value in batch.items()}) for view in range(views.number)]
        yield numbers, [np.stack(of_entry, axis=1) for of_entry in zip(*seen, strict=True)]


def _write(
    paths: Sequence[pathlib.Path],
    kinds: Sequence[str],
    count: int,
    blocks: Iterator[tuple[np.ndarray, list[np.ndarray]]],
) -> None:
    """An array (count, ...) of its kind for each entry; items that never come stay NaN.

    Several runs and processes may share the folder: a file appears whole, or not at all.
    """
    with contextlib.ExitStack() as stack:
        arrays: list[np.memmap] = []
        for numbers, values in blocks:
            if not arrays:
                for path, kind, value in zip(paths, kinds, values, strict=True):
                    arrays.append(stack.enter_context(new_array(path, (count, *value.shape[1:]), kind)))
                    arrays[-1][:] = np.nan
            for array, value in zip(arrays, values, strict=True):
                array[numbers] = value
    if not arrays:
        raise UserError("None of the training images can be read; check them with `xmkeras verify`.")


def _write_ragged(path: pathlib.Path, blocks: Iterator[tuple[np.ndarray, list[np.ndarray]]]) -> None:
    """The vectors of each item one behind the other, in the order in which they come, labelled by its number."""
    numbers, (values, mask) = next(blocks)
    with EmbeddingWriter(path, values.shape[-1]) as writer:
        writer.append(map(str, numbers), numbers, values, mask)
        for numbers, (values, mask) in blocks:
            writer.append(map(str, numbers), numbers, values, mask)


def _read_ragged(path: pathlib.Path, entries: tuple[str, ...], items: Items) -> Reader:
    kept = EmbeddingSet.load(path)
    assert isinstance(kept.vectors, Sequences)
    where = np.full(len(items), -1)
    where[kept.labels] = np.arange(len(kept))
    items = dataclasses.replace(items, place=where[items.place])
    return TokenVectors((entries[0], entries[1]), kept.vectors.values, kept.vectors.starts, items)
