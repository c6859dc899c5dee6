"""The joint embedding that ends both towers."""

from __future__ import annotations

from collections.abc import Sequence

import keras

from xmkeras.errors import UserError
from xmkeras.layers import Dropout
from xmkeras.models.maps import Fusion, fused_features

NORMS = ("batch", "none")


def joint_embedding(
    x: keras.KerasTensor, dim: int, *, norm: str = "batch", norm_momentum: float = 0.99, norm_epsilon: float = 1e-3
) -> keras.KerasTensor:
    """Dense without bias, then batch norm, as the official release of paper 003: (B, f) -> (B, dim).

    With `norm="none"` Dense with a bias alone, as paper 004 describes its embeddings.

    The release averages batch statistics with momentum 0.9997, which suits its runs of 10^5 steps; 0.99 has
    forgotten the initial statistics after some hundred steps, as short runs need.
    """
    if norm not in NORMS:
        raise UserError(f"--joint_norm={norm} is not known; choose one of {', '.join(NORMS)}.")
    # Float32 keeps the embedding exact under a half-precision policy: similarities are sums of many products.
    if norm == "none":
        return keras.layers.Dense(dim, dtype="float32", name="joint_projection")(x)
    x = keras.layers.Dense(dim, use_bias=False, name="joint_projection")(x)
    return keras.layers.BatchNormalization(
        momentum=norm_momentum, epsilon=norm_epsilon, dtype="float32", name="joint_norm"
    )(x)


def image_head(
    features: int,
    dim: int,
    *,
    maps: Sequence[tuple[int, ...]] = (),
    fusion: Fusion | None = None,
    dropout: float = 0.0,
    joint_norm: str = "batch",
    norm_momentum: float = 0.99,
    norm_epsilon: float = 1e-3,
    seed: int = 0,
) -> keras.Model:
    """Pooled image features to the joint embedding.

    Args:
        features: size f of the pooled features.
        dim: size d of the embedding.
        maps: shapes (H, W, c) of the maps that are fused.
        fusion: how, and that the feature is given out; None for the pooled features alone.
        dropout: share of the features dropped in training.
        joint_norm: "batch", or "none" for a plain dense layer.
        norm_momentum: of the batch statistics' moving averages.
        norm_epsilon: added to the variance.
        seed: of the dropout.

    Returns:
        A model "image_head", (B, f) and the maps, if any -> (B, d), not L2-normalised; with a fusion also the feature
        that the embedding is made of, before its dropout.
    """
    last = keras.Input((features,), name="image_features")
    inner = [keras.Input(shape, name=f"image_map_{number}") for number, shape in enumerate(maps, 1)]
    feature = last if fusion is None else fused_features(last, inner, fusion)
    x = Dropout(dropout, seed=seed, name="feature_dropout")(feature) if dropout else feature
    embedding = joint_embedding(x, dim, norm=joint_norm, norm_momentum=norm_momentum, norm_epsilon=norm_epsilon)
    outputs = embedding if fusion is None else [embedding, feature]
    return keras.Model([last, *inner] if inner else last, outputs, name="image_head")
