"""Heads that start at a closed form of the features of the training split, see `--head_init`."""

from __future__ import annotations

import pathlib
import tempfile
from collections.abc import Mapping, Sequence

import numpy as np
from absl import logging

from xmkeras.config import Config
from xmkeras.data.readers import Reader, Several, Vectors
from xmkeras.data.rows import RowTable
from xmkeras.errors import UserError
from xmkeras.method import Method
from xmkeras.models.encoder import Encoder
from xmkeras.models.last_dense import before_last_dense, level_attention, start_last_dense
from xmkeras.retrieval.embeddings import EmbeddingSet
from xmkeras.retrieval.linear_maps import (
    Chosen,
    LinearMap,
    Pairs,
    choose_cca,
    fit_cca,
    held_out_images,
    principal_components,
    whitened,
)
from xmkeras.run.assembly import freeze, stages_of
from xmkeras.run.caches import readers_of
from xmkeras.run.directory import RunDirectory
from xmkeras.run.evaluator import Encoding, stream
from xmkeras.run.sides import Side

Features = dict[str, EmbeddingSet]


def start_heads(
    config: Config, run: RunDirectory, rows: RowTable, sides: Mapping[str, Side], method: Method
) -> None:
    """Gives the last dense layers of a new run the weights that `--head_init` asks for.

    The features are those of the plain inputs, from the caches of the first stage where it has some.

    Args:
        config: of the run.
        run: whose folder holds the caches, and for a while the features.
        rows: the training split.
        sides: of the run.
        method: whose encoders have their first weights.

    Raises:
        UserError: the heads, the method or the data have no such start.
    """
    kind = config.model.head_init
    if kind == "random":
        return
    check_kind(f"--head_init={kind}", kind, tuple(method.sides))
    encoders = method.towers.sides
    for encoder in encoders.values():
        level_attention(encoder)
    fronts = {side: before_last_dense(side, encoder) for side, encoder in encoders.items()}
    freezer = freeze(config, method, stages_of(config)[0])
    readers = readers_of(config, run, rows, sides, method, training=True)
    freezer.freeze(())
    with tempfile.TemporaryDirectory(prefix=".features-", dir=run.path) as folder:
        features = features_of(fronts, readers, rows, pathlib.Path(folder))
        maps = closed_form(kind, features, (config.model.embedding_dim,))
    for side, encoder in encoders.items():
        to = maps[side].of_unit_variance()
        start_last_dense(side, encoder, to.mean, to.matrix, to.variances)


def check_kind(flag: str, kind: str, sides: tuple[str, ...]) -> None:
    """Raises UserError where a run with these sides has no such closed form."""
    if (kind == "cca") != ("text" in sides):
        other = "--method has none" if kind == "cca" else "this run has texts too, for which cca is meant"
        wanted = "images and texts, and this" if kind == "cca" else "images alone, and"
        raise UserError(f"{flag} is for {wanted} {other}; choose another.")


def features_of(
    fronts: Mapping[str, Encoder], readers: Mapping[str, Reader], rows: RowTable, folder: pathlib.Path
) -> Features:
    """What encoders make of all distinct images and all texts of a split, written to `folder`."""
    return {
        side: stream(side, Encoding(front), _plain(readers[side]), rows, folder / side)[0]
        for side, front in fronts.items()
    }


def closed_form(kind: str, features: Features, dimensions: Sequence[int]) -> dict[str, LinearMap]:
    """The maps of each side's features to one of the numbers of dimensions: the last, or with CCA the best.

    Raises:
        UserError: the features have no such map.
    """
    images = features["image"]
    if kind == "cca":
        chosen, pairs = chosen_cca(features, dimensions)
        cca = fit_cca(pairs, chosen.settings)
        return {"image": cca.images, "text": cca.texts}
    if kind == "whitened":
        return {"image": whitened(images.vectors, images.labels, dimensions[-1])}
    return {"image": principal_components(images.vectors, dimensions[-1])}


def chosen_cca(features: Features, dimensions: Sequence[int]) -> tuple[Chosen, Pairs]:
    """Settings of CCA that were best on a fifth of the labels, fitted on the others; and all pairs."""
    pairs = pairs_of(features)
    held_out = held_out_images(features["image"].labels)
    chosen = choose_cca(pairs.take(~held_out), pairs.take(held_out), dimensions=dimensions)
    logging.info("CCA, chosen by rsum %.1f on %d images: %s", chosen.found["rsum"], held_out.sum(), chosen.settings)
    return chosen, pairs


def pairs_of(features: Features) -> Pairs:
    """Images beside their texts; texts of images that could not be read are left out."""
    images, texts = features["image"], features["text"]
    order = np.argsort(images.ids)
    place = order[np.minimum(np.searchsorted(images.ids, texts.ids, sorter=order), len(order) - 1)]
    known = images.ids[place] == texts.ids
    vectors = texts.vectors if known.all() else texts.vectors[known]
    return Pairs(images.vectors, vectors, place[known])


def _plain(reader: Reader) -> Reader:
    return reader.plain() if isinstance(reader, Vectors | Several) else reader
