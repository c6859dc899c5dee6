"""Writes the SavedModel of towers over feature vectors."""

from __future__ import annotations

import os
import pathlib
from typing import TYPE_CHECKING

from xmkeras.errors import UserError
from xmkeras.serving.feature_signatures import Distance, FeatureSignatures
from xmkeras.serving.saved_model import VERSION, write_version

if TYPE_CHECKING:
    from xmkeras.models.features import FeatureTowers
    from xmkeras.retrieval.embeddings import EmbeddingSet


def export_feature_model(
    towers: FeatureTowers,
    directory: str | os.PathLike[str],
    *,
    distance: Distance = "cosine",
    images: EmbeddingSet | None = None,
    texts: EmbeddingSet | None = None,
    gallery_split: str = "",
    top_k: int = 10,
    credit: str = "",
) -> pathlib.Path:
    """Writes `directory/saved_model/1`, or leaves what was there untouched.

    Args:
        towers: the trained towers, preprocessing included.
        directory: a run directory; made if it does not exist.
        distance: by which embeddings are scored and searched.
        images, texts: the embeddings that the searches look through; None leaves these signatures out. The ids of
            texts are the names that they are found by.
        gallery_split: the name of the gallery's split; written into the description.
        top_k: results of a search.
        credit: attribution of the data.

    Returns:
        The folder of the version.

    Raises:
        UserError: `top_k` is below 1, or the disk is full.
    """
    if top_k < 1:
        raise UserError(f"A search returns at least one item, so top_k={top_k} is too small; use 1 or more.")
    target = pathlib.Path(directory) / "saved_model" / VERSION
    module = FeatureSignatures(towers, distance=distance, images=images, texts=texts, top_k=top_k)
    packed = {"split": gallery_split, "images": 0 if images is None else len(images), "top_k": top_k}
    about = {
        "inputs": {"image_features": towers.widths[0], "text_features": towers.widths[1]},
        "embedding_dim": towers.embedding_dim,
        "distance": distance,
        "gallery": None if images is None else packed,
        "credit": credit,
    }
    write_version(target, module, about)
    return target
