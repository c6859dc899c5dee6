"""Encoders of pictures and of sentences; every layer has a fixed name, so that variables are named alike anywhere."""

from __future__ import annotations

from typing import Any

import keras

from xmkeras.models.bert import Bert
from xmkeras.models.bert_text import at_tokens, bert_text_encoder
from xmkeras.models.encoder import Encoder, Part
from xmkeras.models.heads import image_head
from xmkeras.models.image import image_backbone, set_norm_momentum
from xmkeras.models.maps import Fusion, with_grid, with_maps
from xmkeras.models.regions import Regions, region_head
from xmkeras.models.text import text_encoder
from xmkeras.models.words import Words

_REGIONS = "image_regions"


def picture_encoder(
    image_size: tuple[int, int],
    *,
    image_tower: str = "mobilenet",
    image_width: float = 1.0,
    image_weights: str = "none",
    image_dropout: float = 0.0,
    embedding_dim: int = 512,
    joint_norm: str = "batch",
    norm_momentum: float = 0.99,
    norm_epsilon: float = 1e-3,
    region_map: str = "auto",
    region_grid: int = 0,
    fusion: Fusion | None = None,
    regions: Regions | None = None,
    seed: int = 0,
) -> Encoder:
    """RGB `image` (B, h, w, 3) in 0..255 to pooled `image_features` (B, f) to embeddings (B, d).

    With a fusion also to a map `image_map/<layer>` (B, H, W, c) of each of its layers, and out comes, beside the
    embeddings, the feature that they are made of, (B, g), as `features`. With regions `image` goes to a map's
    `image_regions` (B, n, c), which are pooled no further, to embeddings (B, n, d).

    Args:
        image_size: height and width in pixels.
        image_tower: see `xmkeras.models.image.image_backbone`, as for `image_width` and `image_weights`.
        image_dropout: share of the pooled features dropped in training.
        embedding_dim: size d of the joint embedding.
        joint_norm: what ends the tower: "batch" for batch norm, "none" for a dense layer alone.
        norm_momentum: of the statistics of every batch norm, those of the backbone included.
        norm_epsilon: added to the variance of the joint embedding's batch norm.
        region_map: layer of the network whose map the regions are; "auto" for the last one.
        region_grid: the map is pooled to so many regions a side; 0 takes each of its positions.
        fusion: of the network's maps; None for the pooled features alone.
        regions: what a method asks for beyond one vector an image; with them there is no fusion.
        seed: of the dropout; initial weights follow `keras.utils.set_random_seed`.

    Raises:
        UserError: an option that a part cannot have.
    """
    backbone = image_backbone(image_tower, image_size=image_size, width=image_width, weights=image_weights)
    set_norm_momentum(backbone, norm_momentum)
    if regions is not None:
        backbone = with_grid(backbone, region_map, region_grid)
        inputs = keras.Input(backbone.output.shape[1:], name=_REGIONS)
        head = region_head(inputs, regions, embedding_dim, image_dropout, norm_momentum, seed)
        return Encoder.chain(Part(backbone, ("image",), (_REGIONS,)), Part(head, (_REGIONS,), regions.gives))
    names = fusion.names(image_tower) if fusion else ()
    backbone = with_maps(backbone, names) if names else backbone
    features, *maps = (tuple(output.shape[1:]) for output in backbone.outputs)
    head = image_head(
        features[0],
        embedding_dim,
        maps=maps,
        fusion=fusion,
        dropout=image_dropout,
        joint_norm=joint_norm,
        norm_momentum=norm_momentum,
        norm_epsilon=norm_epsilon,
        seed=seed,
    )
    entries = ("image_features", *(f"image_map/{name}" for name in names))
    gives = ("",) if fusion is None else ("", "features")
    return Encoder.chain(Part(backbone, ("image",), entries), Part(head, entries, gives))


def word_encoder(vocabulary_size: int, *, words: Words | None = None, **options: Any) -> Encoder:
    """Token ids `text` (B, L) to embeddings (B, d), or (B, L, d) where a method asks for words.

    The options and errors are those of `models.text.text_encoder`.
    """
    return Encoder.chain(Part(text_encoder(vocabulary_size, words=words, **options), ("text",), _gives(words)))


def bert_encoder(bert: Bert, *, words: Words | None = None, **options: Any) -> Encoder:
    """Word pieces `text` (B, L) to BERT's `text_tokens` (B, L, f) and `text_mask` (B, L) to embeddings (B, d).

    Where a method asks for words, to embeddings (B, L - 2, d) of the pieces between [CLS] and [SEP].

    Where words are dropped before BERT, in one part. The options and errors are those of
    `models.bert_text.bert_text_encoder`.
    """
    whole = bert_text_encoder(bert, words=words, **options)
    halves = at_tokens(whole)
    if halves is None:
        return Encoder.chain(Part(whole, ("text",), _gives(words)))
    tokens = ("text_tokens", "text_mask")
    parts = Part(halves[0], ("text",), tokens), Part(halves[1], tokens, _gives(words))
    return Encoder(parts, {whole.name: whole})


def _gives(words: Words | None) -> tuple[str, ...]:
    return ("",) if words is None else words.gives
