"""Packs the images of a table into sharded random-access files with tensorflow-datasets."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import os
import pathlib
import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from xmkeras.data.rows import SPLITS, RowTable
from xmkeras.errors import UserError


class RowsBuilder(tfds.core.GeneratorBasedBuilder, skip_registration=True):  # type: ignore[call-arg]
    """A tensorflow-datasets builder of a table's distinct images in order, with captions, label and id.

    Args:
        table: images as files or bytes.
        data_dir: where the shards (array_record files) go.
    """

    code_path = pathlib.Path(__file__)  # tensorflow-datasets finds it by a package that it does not install
    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "Packed rows."}  # noqa: RUF012 (a plain dict is what the base class expects)

    def __init__(self, table: RowTable, data_dir: str):
        self.name = re.sub(r"\W", "_", table.name.lower())
        self.table = table
        super().__init__(data_dir=data_dir, file_format="array_record")

    def _info(self) -> tfds.core.DatasetInfo:
        features = tfds.features.FeaturesDict(
            {
                "image": tfds.features.Image(),
                "captions": tfds.features.Sequence(tfds.features.Text()),
                "label": tfds.features.ClassLabel(names=self.table.label_names),
                "image_id": tfds.features.Text(),
                "category": tfds.features.Text(),
            }
        )
        return tfds.core.DatasetInfo(
            builder=self,
            description=f"{self.table.num_images} images with captions. {self.table.credit}",
            features=features,
            disable_shuffling=True,
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Any]:
        return {split: self._generate_examples(split) for split in self.table.split_names}

    def _generate_examples(self, split: str) -> Iterator[tuple[int, dict[str, Any]]]:
        part = self.table.split(split)
        captions: dict[int, list[str]] = {}
        for image, row_captions in zip(part.image_index.tolist(), part.captions, strict=True):
            captions.setdefault(image, []).extend(row_captions)
        for key, row in enumerate(part.distinct_images().tolist()):
            yield (
                key,
                {
                    "image": part.read_bytes(row),
                    "captions": captions[int(part.image_index[row])],
                    "label": int(part.labels[row]),
                    "image_id": part.image_ids[row],
                    "category": part.categories[row],
                },
            )


class PackedImages:
    """Encoded images by number, read from the shards of a `RowsBuilder`.

    Args:
        folder: of the prepared data set.
        places: for each image number its split and its position there.
        image_ids: for each image number its id, checked at every reading.
    """

    def __init__(self, folder: str, places: list[tuple[str, int]], image_ids: list[str]):
        self.folder = folder
        self.places = places
        self.image_ids = image_ids

    @functools.cached_property
    def _sources(self) -> dict[str, Any]:
        builder = tfds.builder_from_directory(self.folder)
        decoders = {"image": tfds.decode.SkipDecoding()}
        return {split: builder.as_data_source(split, decoders=decoders) for split in builder.info.splits}

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, number: int) -> bytes:
        split, position = self.places[number]
        record = self._sources[split][position]
        if record["image_id"].decode() != self.image_ids[number]:
            raise OSError(
                f"{self.folder}: record {position} of {split} is not image {self.image_ids[number]!r}"
            )
        return bytes(record["image"])


def pack(table: RowTable, root: str) -> RowTable:
    """The same table reading its images from packed shards, which are written on first use.

    Each distinct image is stored once, encoded as it is, under `root/packed/`; changed captions, labels or
    image files make a new pack.

    Raises:
        UserError: an image cannot be read, or the shards cannot be written.
    """
    if table.features is not None:
        raise UserError(f"The data set {table.name} holds feature vectors, not images that could be packed.")
    data_dir = os.path.join(root, "packed", _content_key(table))
    builder = RowsBuilder(table, data_dir)
    try:
        builder.download_and_prepare()
    except OSError as error:
        raise UserError(f"Cannot pack {table.name} into {data_dir} ({error}).") from error
    return dataclasses.replace(table, image_paths=None, encoded=_packed_images(table, str(builder.data_path)))


def _packed_images(table: RowTable, folder: str) -> PackedImages:
    rows = table.distinct_images()
    count = int(table.image_index.max()) + 1
    places = [("", 0)] * count
    image_ids = [""] * count
    position = dict.fromkeys(SPLITS, 0)
    for row in rows.tolist():
        split, number = str(table.splits[row]), int(table.image_index[row])
        places[number], image_ids[number] = (split, position[split]), table.image_ids[row]
        position[split] += 1
    return PackedImages(folder, places, image_ids)


def _content_key(table: RowTable) -> str:
    digest = hashlib.sha256(table.fingerprint().encode())
    if table.image_paths is not None:
        for path in table.image_paths:
            status = os.stat(path)
            digest.update(np.array([status.st_size, status.st_mtime_ns], np.int64).tobytes())
    return digest.hexdigest()[:16]
