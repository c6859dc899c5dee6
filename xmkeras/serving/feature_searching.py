"""Searches the packed gallery of a model over feature vectors with the rows of a file."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import tensorflow as tf

from xmkeras.data.feature_files import read_matrix, split_reference
from xmkeras.errors import UserError
from xmkeras.serving.client import SearchModel
from xmkeras.serving.searching import Found

_BATCH = 256


def find_features(
    model: SearchModel, *, text_features: str = "", image_features: str = "", top: int = 10
) -> list[Found]:
    """Searches images with every row of `text_features`, then texts with every row of `image_features`.

    Args:
        model: exported with a gallery.
        text_features, image_features: `FILE` or `FILE:ARRAY` of vectors (n, t) and (n, f); "" asks nothing.
        top: results of each query, cut to the number the model was exported with.

    Returns:
        What each row found, in order; a query is called by its file and row, from 1.

    Raises:
        UserError: `top` is below 1, the model takes no vectors or has no gallery, or a file does not fit it.
    """
    if top < 1:
        raise UserError(f"--top={top} shows nothing; use 1 or more.")
    found: list[Found] = []
    for reference, side, signature in (
        (text_features, "text_features", "search_by_text_features"),
        (image_features, "image_features", "search_texts_by_image_features"),
    ):
        if not reference:
            continue
        function = _signature(model, signature)
        path, name = split_reference(reference)
        vectors = np.asarray(read_matrix(path, name), np.float32)
        width = int(model.metadata["inputs"][side])
        if vectors.ndim != 2 or vectors.shape[1] != width or not np.isfinite(vectors).all():
            raise UserError(f"{reference} has shape {vectors.shape}; the model takes finite {side} (n, {width}).")
        names, scores = [], []
        for start in range(0, len(vectors), _BATCH):
            answer = function(**{side: tf.constant(vectors[start : start + _BATCH])})
            names += [[text.decode() for text in row] for row in answer["ids"].numpy()[:, :top].tolist()]
            scores += list(answer["scores"].numpy()[:, :top])
        base = os.path.basename(path)
        found += [
            Found(f"{base} row {row}", *one) for row, one in enumerate(zip(names, scores, strict=True), 1)
        ]
    return found


def _signature(model: SearchModel, name: str) -> Any:
    if "inputs" not in model.metadata:
        raise UserError(f"{model.path} takes images and sentences, not vectors; ask it with --text or --image.")
    if name not in model.signatures:
        raise UserError(f"{model.path} has no gallery packed; export it with --gallery=test.")
    return model.signatures[name]
