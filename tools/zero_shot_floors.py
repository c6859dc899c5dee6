"""Floors of zero-shot tables: the features of a frozen image tower, as they are, by PCA, or whitened.

They are rows of a table of `tools.reproduce`, which calls `measure`.
"""

from __future__ import annotations

import pathlib

import numpy as np

from xmkeras import methods
from xmkeras.config import Config
from xmkeras.data.passes import one_pass
from xmkeras.data.readers import Items, Reader
from xmkeras.data.rows import RowTable
from xmkeras.errors import UserError
from xmkeras.method import Method
from xmkeras.retrieval.embeddings import EmbeddingSet
from xmkeras.retrieval.linear_maps import principal_components, whitened
from xmkeras.retrieval.protocols.zero_shot import zero_shot
from xmkeras.run.assembly import build_method, freeze, load_table, stages_of
from xmkeras.run.caches import readers_of
from xmkeras.run.directory import RunDirectory
from xmkeras.run.sides import sides_of

TRANSFORMS = ("none", "pca", "whitened")
_BATCH = 64


def measure(
    config: Config, split: str, *, transform: str = "none", dim: int = 0, shrinkage: float = 0.3
) -> dict[str, float]:
    """The figures of the zero-shot protocol on the features that the method makes its embeddings of, untrained.

    Args:
        config: of a run whose method gives its feature out, with a stage that freezes the image tower; with
            --dml.extension=gdfl and --dml.attention=mean it is the means of the maps, with adversary the pooled last
            features.
        split: that is measured; the transform is fitted on "train".
        transform: one of `TRANSFORMS`.
        dim: how many dimensions are kept, those of the largest variance; 0 for all.
        shrinkage: see `xmkeras.retrieval.linear_maps.whitened`.

    Raises:
        UserError: data are missing, the method gives no feature, or the transform is not known.
    """
    if transform not in TRANSFORMS:
        raise UserError(f"The transform {transform!r} of a floor is not known; choose one of {', '.join(TRANSFORMS)}.")
    table = load_table(config)
    rows = table.split("train")
    sides = sides_of(config, methods.load(config.method).sides, rows, {})
    method = build_method(config, sides, rows.num_labels)
    freeze(config, method, stages_of(config)[-1])
    run = RunDirectory(pathlib.Path(config.train.run))

    def embedded(part: RowTable) -> EmbeddingSet:
        reader = readers_of(config, run, part, sides, method, training=False)["image"]
        return features(method, part, reader)

    asked = embedded(table.split(split))
    vectors = asked.vectors
    if transform != "none":
        fitted = embedded(rows)
        vectors = transformed(fitted.vectors, fitted.labels, vectors, transform, dim, shrinkage)
    return zero_shot(EmbeddingSet(asked.ids, asked.labels, vectors))


def features(method: Method, table: RowTable, reader: Reader) -> EmbeddingSet:
    """What an image encoder makes its embeddings of, (n, g), of each image of a table.

    Raises:
        UserError: the method does not ask its encoder for it.
    """
    items = Items.of("image", table)
    numbers, vectors = [], []
    for batch in one_pass(reader, items, batch_size=_BATCH):
        numbers.append(batch.pop("item").numpy())
        given = method.towers.encode("image", batch)
        if "image/features" not in given:
            raise UserError("This method gives no features out; take --method=dml with --dml.extension=adversary.")
        vectors.append(given["image/features"].numpy())
    rows = items.rows[np.concatenate(numbers)]
    return EmbeddingSet(np.array(table.image_ids)[rows], table.labels[rows], np.concatenate(vectors))


def transformed(
    train: np.ndarray, labels: np.ndarray, asked: np.ndarray, transform: str, dim: int, shrinkage: float
) -> np.ndarray:
    """(m, f) vectors by what was fitted on (n, f) vectors of (n,) labels, float32 (m, dim)."""
    size = dim or train.shape[1]
    fitted = whitened(train, labels, size, shrinkage) if transform == "whitened" else principal_components(train, size)
    return fitted(asked).astype(np.float32)
