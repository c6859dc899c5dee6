"""The joint embedding that ends both towers."""

from __future__ import annotations

import keras

from xmkeras.errors import UserError
from xmkeras.layers import Dropout

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
        dropout: share of the features dropped in training.
        joint_norm: "batch", or "none" for a plain dense layer.
        norm_momentum: of the batch statistics' moving averages.
        norm_epsilon: added to the variance.
        seed: of the dropout.

    Returns:
        A model "image_head", (B, f) -> (B, d), not L2-normalised.
    """
    inputs = keras.Input((features,), name="image_features")
    x = Dropout(dropout, seed=seed, name="feature_dropout")(inputs) if dropout else inputs
    outputs = joint_embedding(x, dim, norm=joint_norm, norm_momentum=norm_momentum, norm_epsilon=norm_epsilon)
    return keras.Model(inputs, outputs, name="image_head")
