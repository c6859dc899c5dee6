"""The two towers of a model: images and texts into one embedding space."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import keras
import numpy as np

from xmkeras.models.bert import Bert
from xmkeras.models.bert_text import at_tokens, bert_text_encoder
from xmkeras.models.heads import image_head
from xmkeras.models.image import image_backbone, set_norm_momentum
from xmkeras.models.text import text_encoder

Tensor = Any


@dataclasses.dataclass(frozen=True)
class Towers:
    """The parts of both towers and what is composed of them; embeddings are not L2-normalised.

    Attributes:
        image_backbone: float32 RGB (B, h, w, 3) in 0..255 -> pooled features (B, f).
        image_head: (B, f) -> (B, d).
        text_encoder: int32 token ids (B, L), padded with 0 on the right -> (B, d).
        tokenizer: strings (B,) -> int32 token ids (B, L).
    """

    image_backbone: keras.Model
    image_head: keras.Model
    text_encoder: keras.Model
    tokenizer: keras.layers.Layer

    @functools.cached_property
    def image(self) -> keras.Model:
        """The model "image_tower", RGB (B, h, w, 3) in 0..255 -> (B, d); usable and saveable alone."""
        inputs = keras.Input(self.image_backbone.input_shape[1:], name="image")
        return keras.Model(inputs, self.image_head(self.image_backbone(inputs)), name="image_tower")

    @functools.cached_property
    def text(self) -> keras.Model:
        """The model "text_tower", strings (B,) -> (B, d); usable and saveable alone."""
        inputs = keras.Input((), dtype="string", name="text")
        return keras.Model(inputs, self.text_encoder(self.tokenizer(inputs)), name="text_tower")

    @functools.cached_property
    def text_at_tokens(self) -> tuple[keras.Model, keras.Model] | None:
        """The text encoder cut behind its BERT; see `xmkeras.models.bert_text.at_tokens`."""
        return at_tokens(self.text_encoder)

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width of the images in pixels."""
        height, width = self.image_backbone.input_shape[1:3]
        return height, width

    @property
    def embedding_dim(self) -> int:
        """Size d of the joint embedding."""
        return self.image_head.output_shape[-1]

    @property
    def named_parts(self) -> dict[str, keras.Model]:
        """The parts that own variables, by the first part of the variables' names."""
        parts = (self.image_backbone, self.image_head, self.text_encoder)
        return {part.name: part for part in parts}

    def encode_image(self, images: Tensor, training: bool = False) -> Tensor:
        """Embeddings (B, d) of RGB images (B, h, w, 3) in 0..255."""
        return self.image(images, training=training)

    def encode_features(self, features: Tensor, training: bool = False) -> Tensor:
        """Embeddings (B, d) of pooled image features (B, f)."""
        return self.image_head(features, training=training)

    def encode_text(self, texts: Tensor, training: bool = False) -> Tensor:
        """Embeddings (B, d) of strings (B,)."""
        return self.text(texts, training=training)

    def encode_text_ids(self, ids: Tensor, training: bool = False) -> Tensor:
        """Embeddings (B, d) of token ids (B, L)."""
        return self.text_encoder(ids, training=training)

    def encode_text_tokens(self, tokens: Tensor, mask: Tensor, training: bool = False) -> Tensor:
        """Embeddings (B, d) of BERT's vectors (B, L, f) of the tokens where `mask` (B, L) is true.

        Raises:
            ValueError: the text encoder cannot be cut behind a BERT.
        """
        if self.text_at_tokens is None:
            raise ValueError("this text encoder has no BERT whose token vectors it could take")
        return self.text_at_tokens[1]([tokens, mask], training=training)


def build_towers(
    *,
    tokenizer: keras.layers.Layer,
    image_size: tuple[int, int],
    image_tower: str = "mobilenet",
    image_width: float = 1.0,
    image_weights: str = "none",
    embedding_dim: int = 512,
    bert: Bert | None = None,
    bert_frozen_layers: int = -1,
    bert_dropout: float = 0.1,
    word_dim: int = 512,
    lstm_units: int = 512,
    dropout: float = 0.0,
    image_dropout: float = 0.0,
    word_dropout: float = 0.0,
    pooling: str = "max",
    zero_pad_compat: bool = False,
    word_vectors: np.ndarray | None = None,
    train_word_vectors: bool = True,
    word_scale: float = 0.0,
    joint_norm: str = "batch",
    norm_momentum: float = 0.99,
    norm_epsilon: float = 1e-3,
    seed: int = 0,
) -> Towers:
    """Builds both towers; every layer has a fixed name, so that variables are named alike in all processes.

    Args:
        tokenizer: layer from strings to ids with the property `vocabulary_size`.
        image_size: height and width in pixels.
        image_tower: see `xmkeras.models.image.image_backbone`, as for `image_width` and `image_weights`.
        embedding_dim: size d of the joint embedding.
        bert: the text tower reads BERT's token vectors instead of word vectors, of which the options then count for
            nothing; see `xmkeras.models.bert_text.bert_text_encoder`, as for `bert_frozen_layers` and `bert_dropout`.
        image_dropout: share of the pooled image features dropped in training.
        joint_norm: what ends both towers: "batch" for batch norm, "none" for a dense layer alone.
        norm_momentum: of the statistics of every batch norm, those of the image backbone included.
        seed: of the dropouts; initial weights follow `keras.utils.set_random_seed`.

    The other arguments are those of `xmkeras.models.text.text_encoder`.

    Raises:
        UserError: an option that a part cannot have.
    """
    backbone = image_backbone(image_tower, image_size=image_size, width=image_width, weights=image_weights)
    set_norm_momentum(backbone, norm_momentum)
    norm: dict[str, Any] = {
        "joint_norm": joint_norm,
        "norm_momentum": norm_momentum,
        "norm_epsilon": norm_epsilon,
    }
    common: dict[str, Any] = {
        "lstm_units": lstm_units,
        "embedding_dim": embedding_dim,
        "dropout": dropout,
        "word_dropout": word_dropout,
        "pooling": pooling,
        "zero_pad_compat": zero_pad_compat,
        "seed": seed,
        **norm,
    }
    # The head before the text encoder: initial weights are drawn in this order.
    head = image_head(backbone.output_shape[-1], embedding_dim, dropout=image_dropout, seed=seed, **norm)
    if bert is not None:
        text = bert_text_encoder(bert, bert_frozen_layers=bert_frozen_layers, bert_dropout=bert_dropout, **common)
    else:
        text = text_encoder(
            tokenizer.vocabulary_size,
            word_dim=word_dim,
            word_vectors=word_vectors,
            train_word_vectors=train_word_vectors,
            word_scale=word_scale,
            **common,
        )
    return Towers(
        image_backbone=backbone,
        image_head=head,
        text_encoder=text,
        tokenizer=tokenizer,
    )
