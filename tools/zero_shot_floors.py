"""Floors of zero-shot tables: the features of a frozen image tower, as they are, by PCA, or whitened.

They are rows of a table of `tools.reproduce`, which calls `measure`.
"""

from __future__ import annotations

import dataclasses
import pathlib
import tempfile

import keras

from xmkeras import methods
from xmkeras.config import Config
from xmkeras.errors import UserError
from xmkeras.models.last_dense import before_last_dense, level_attention
from xmkeras.retrieval.protocols.zero_shot import zero_shot
from xmkeras.run.assembly import build_method, freeze, load_table, stages_of
from xmkeras.run.caches import readers_of
from xmkeras.run.directory import RunDirectory
from xmkeras.run.head_start import closed_form, features_of
from xmkeras.run.sides import sides_of

TRANSFORMS = ("none", "pca", "whitened")


def measure(config: Config, split: str, *, transform: str = "none", dim: int = 0) -> dict[str, float]:
    """The figures of the zero-shot protocol on what the last dense layer would see before any training.

    That is the pooled last features, or plain means of the maps where the method's options fuse them.

    Args:
        config: of a run with a stage that freezes the image tower.
        split: that is measured; the transform is fitted on "train".
        transform: one of `TRANSFORMS`, those of --head_init.
        dim: how many dimensions are kept of PCA or of whitening; 0 for all.

    Raises:
        UserError: data are missing, or the transform is not known.
    """
    if transform not in TRANSFORMS:
        raise UserError(f"The transform {transform!r} of a floor is not known; choose one of {', '.join(TRANSFORMS)}.")
    keras.utils.set_random_seed(config.train.seed)
    table = load_table(config)
    rows, asked = table.split("train"), table.split(split)
    sides = sides_of(config, methods.load(config.method).sides, rows, {})
    method = build_method(config, sides, rows.num_labels)
    freeze(config, method, stages_of(config)[-1])
    encoder = method.towers.sides["image"]
    level_attention(encoder)
    fronts, run = {"image": before_last_dense("image", encoder)}, RunDirectory(pathlib.Path(config.train.run))
    # The training split as training reads it, whose cache may be there already.
    parts = ((rows, True), (asked, False)) if transform != "none" else ((asked, False),)
    with tempfile.TemporaryDirectory(prefix="features-") as folder:
        made = [
            features_of(
                fronts,
                readers_of(config, run, part, sides, method, training=training),
                part,
                pathlib.Path(folder) / part.name / str(training),
            )
            for part, training in parts
        ]
        items = made[-1]["image"]
        if transform != "none":
            fitted = closed_form(transform, made[0], (dim or fronts["image"].dim,))["image"]
            items = dataclasses.replace(items, vectors=fitted(items.vectors).astype("float32"))
        return zero_shot(items)
