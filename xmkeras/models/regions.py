"""Image encoders over regions: a vector for each region, VSRN's reasoning over them, or one pooled vector."""

from __future__ import annotations

import dataclasses

import keras

from xmkeras.errors import UserError
from xmkeras.layers import Dropout, GeneralizedPooling, PortableGRU
from xmkeras.models.encoder import Encoder, Part
from xmkeras.models.heads import joint_embedding

ENTRY = "image_features"
POOLINGS = ("mean", "max", "gpo")
AXES = {"features": -1, "regions": 1}
_GRAPH_EPSILON = 1e-5


@dataclasses.dataclass(frozen=True)
class Reasoning:
    """VSRN's way from regions to one embedding (Li et al., ICCV 2019).

    Attributes:
        layers: of the graph over the regions.
        unit_regions: regions of length 1 enter it, as released for COCO.
        axis: along which its outputs are normalised: the "features" of each region, or, as released, each feature over
            the "regions".
        joint_norm: batch norm behind the global state, as released for Flickr30K.
    """

    layers: int = 4
    unit_regions: bool = False
    axis: str = "features"
    joint_norm: bool = False


@dataclasses.dataclass(frozen=True)
class Regions:
    """What a method asks of an image encoder beyond one vector: one of length 1 for each region.

    Attributes:
        reasoning: what makes one embedding of them; they are then given out as `regions`. None: they are the embedding.
    """

    reasoning: Reasoning | None = None

    @property
    def gives(self) -> tuple[str, ...]:
        return ("",) if self.reasoning is None else ("", "regions")


def region_encoder(
    shape: tuple[int, int],
    *,
    embedding_dim: int = 512,
    image_dropout: float = 0.0,
    region_pooling: str = "mean",
    joint_norm: str = "batch",
    norm_momentum: float = 0.99,
    norm_epsilon: float = 1e-3,
    regions: Regions | None = None,
    seed: int = 0,
) -> Encoder:
    """Precomputed regions `image_features` (B, n, c) to embeddings (B, d), or (B, n, d) where a method asks for these.

    Args:
        shape: number n of the regions and size c of each.
        embedding_dim: size d of the joint embedding.
        image_dropout: share of the regions' numbers dropped in training.
        region_pooling: "mean", "max" or "gpo" (see `GeneralizedPooling`), where no method asks for regions.
        joint_norm: what ends the tower then: "batch", or "none" for a dense layer alone.
        norm_momentum: of the statistics of every batch norm.
        norm_epsilon: added to the variance of the joint embedding's batch norm.
        regions: what a method asks for.
        seed: of the dropout.

    Raises:
        UserError: an unknown pooling.
    """
    inputs = keras.Input(shape, name=ENTRY)
    if regions is not None:
        head = region_head(inputs, regions, embedding_dim, image_dropout, norm_momentum, seed)
        return Encoder.chain(Part(head, (ENTRY,), regions.gives))
    x = Dropout(image_dropout, seed=seed, name="feature_dropout")(inputs) if image_dropout else inputs
    x = _pooled(x, region_pooling)
    x = joint_embedding(x, embedding_dim, norm=joint_norm, norm_momentum=norm_momentum, norm_epsilon=norm_epsilon)
    return Encoder.chain(Part(keras.Model(inputs, x, name="image_head"), (ENTRY,)))


def region_head(
    inputs: keras.KerasTensor, regions: Regions, dim: int, dropout: float, norm_momentum: float, seed: int
) -> keras.Model:
    """The model "image_head" from regions (B, n, c) to what `regions` gives: (B, n, dim), or (B, dim) and these."""
    x = Dropout(dropout, seed=seed, name="feature_dropout")(inputs) if dropout else inputs
    x = keras.layers.Dense(dim, name="region_projection")(x)
    if regions.reasoning is None:
        return keras.Model(inputs, _unit("unit")(x), name="image_head")
    return keras.Model(inputs, _reasoned(x, regions.reasoning, norm_momentum), name="image_head")


def graph_layer(x: keras.KerasTensor, number: int, norm_momentum: float) -> keras.KerasTensor:
    """v + BN(W (R g(v))) with R = theta(v) phi(v)^T / n and no softmax, (B, n, d) -> (B, n, d).

    The scale of the batch norm begins at 0, and with it the layer as the identity.
    """
    regions, width = x.shape[1], x.shape[2]

    def dense(name: str) -> keras.layers.Layer:
        return keras.layers.Dense(width, name=f"{name}_{number}")

    affinity = keras.layers.Dot((2, 2), name=f"affinity_{number}")([dense("theta")(x), dense("phi")(x)])
    affinity = keras.layers.Rescaling(1 / regions, name=f"share_{number}")(affinity)
    mixed = keras.layers.Dot((2, 1), name=f"mixed_{number}")([affinity, dense("g")(x)])
    norm = keras.layers.BatchNormalization(
        momentum=norm_momentum,
        epsilon=_GRAPH_EPSILON,
        gamma_initializer="zeros",
        dtype="float32",
        name=f"graph_norm_{number}",
    )
    return keras.layers.Add(dtype="float32", name=f"graph_{number}")([x, norm(dense("W")(mixed))])


def _reasoned(x: keras.KerasTensor, reasoning: Reasoning, norm_momentum: float) -> list[keras.KerasTensor]:
    x = _unit("unit_regions")(x) if reasoning.unit_regions else x
    for number in range(1, reasoning.layers + 1):
        x = graph_layer(x, number, norm_momentum)
    x = _unit("unit", AXES[reasoning.axis])(x)
    whole = PortableGRU(x.shape[2], name="global_gru")(x)
    if reasoning.joint_norm:
        momentum = {"momentum": norm_momentum, "epsilon": _GRAPH_EPSILON}
        whole = keras.layers.BatchNormalization(**momentum, dtype="float32", name="joint_norm")(whole)
    return [_unit("unit_embedding")(whole), x]


def _pooled(x: keras.KerasTensor, pooling: str) -> keras.KerasTensor:
    if pooling not in POOLINGS:
        raise UserError(f"--region_pooling={pooling} is not known; choose one of {', '.join(POOLINGS)}.")
    if pooling == "gpo":
        return GeneralizedPooling(name="region_pool")(x)
    kinds = {"mean": keras.layers.GlobalAveragePooling1D, "max": keras.layers.GlobalMaxPooling1D}
    return kinds[pooling](name="region_pool")(x)


def _unit(name: str, axis: int = -1) -> keras.layers.Layer:
    # In float32 under every policy: scores are sums of many products.
    return keras.layers.UnitNormalization(axis=axis, dtype="float32", name=name)
