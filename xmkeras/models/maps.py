"""Inner maps of a picture's network, pooled by its last features and put side by side: the feature of an embedding."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import keras

from xmkeras.layers import GridRegions, MapAttention
from xmkeras.layers.map_attention import KINDS
from xmkeras.models.image import DEFAULT_MAPS, feature_maps

AUTO = ("auto",)
ATTENTIONS = (*KINDS, "mean")
_AUTO_MAPS = 2  # the last two strides: the paper's maps have 14 and 7 positions a side


@dataclasses.dataclass(frozen=True)
class Fusion:
    """What of a picture's network its embedding is made of; the encoder gives it out as `features`.

    Attributes:
        maps: names of layers of the network; `AUTO` for the last two of `DEFAULT_MAPS`, none for the pooled last
            features alone, which are then the feature.
        attention: how each map is pooled: one of the kinds of `MapAttention`, or "mean" over its positions.
        include_last: append the pooled last features, which the paper leaves open.
    """

    maps: tuple[str, ...] = AUTO
    attention: str = "additive"
    include_last: bool = False

    def names(self, tower: str) -> tuple[str, ...]:
        """The layers of an image tower whose maps are taken."""
        return DEFAULT_MAPS[tower][-_AUTO_MAPS:] if self.maps == AUTO else self.maps


def with_maps(backbone: keras.Model, names: Sequence[str]) -> keras.Model:
    """`backbone` with the maps (B, H, W, c) of the named layers behind its pooled features, on the same variables.

    Raises:
        UserError: there is no such map.
    """
    (network,) = [layer for layer in backbone.layers if isinstance(layer, keras.Model)]
    # The last map too, so that the network is passed through once.
    *maps, last = feature_maps(backbone, *names, network.layers[-1].name)
    pooled = backbone.get_layer("average_pool")(last)
    return keras.Model(backbone.input, [pooled, *maps], name=backbone.name)


def with_grid(backbone: keras.Model, name: str, size: int) -> keras.Model:
    """`backbone` up to a map, as a grid of regions: images to (B, n, c), on the same variables.

    Args:
        backbone: of `xmkeras.models.image.image_backbone`.
        name: of the layer that makes the map; "auto" for the network's last one.
        size: regions a side, see `GridRegions`.

    Raises:
        UserError: there is no such map.
    """
    (network,) = [layer for layer in backbone.layers if isinstance(layer, keras.Model)]
    (chosen,) = feature_maps(backbone, network.layers[-1].name if name == "auto" else name)
    return keras.Model(backbone.input, GridRegions(size, name="grid")(chosen), name=backbone.name)


def fused_features(last: keras.KerasTensor, maps: Sequence[keras.KerasTensor], fusion: Fusion) -> keras.KerasTensor:
    """Maps (B, H, W, c_k) pooled as their fusion says, side by side: (B, sum of c_k); without maps `last` (B, l)."""
    pooled = []
    for number, one in enumerate(maps, 1):
        if fusion.attention == "mean":
            pooled.append(keras.layers.GlobalAveragePooling2D(name=f"mean_{number}")(one))
        else:
            pooled.append(MapAttention(fusion.attention, name=f"attention_{number}")([one, last]))
    pooled += [last] if fusion.include_last or not maps else []
    return keras.layers.Concatenate(name="features")(pooled) if len(pooled) > 1 else pooled[0]
