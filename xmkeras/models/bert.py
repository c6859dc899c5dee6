"""A BERT encoder as layers of a functional model, and what has to be known to build it again."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from xmkeras.errors import UserError
from xmkeras.layers import PaddingMask
from xmkeras.layers.transformer import TokenEmbeddings, TransformerBlock

EMBEDDINGS, LAYER = "bert_embeddings", "bert_layer_"


@dataclasses.dataclass(frozen=True)
class BertConfig:
    """The sizes of a BERT encoder, and the two ways in which published ones differ.

    Attributes:
        vocabulary_size: number of ids V.
        layers: number of transformer blocks.
        heads: attention heads of a block.
        width: size of the token vectors.
        inner: size of the hidden layers.
        positions: the most tokens of a text.
        epsilon: of the layer norms.
        approximate_gelu: the tanh form of GELU, as in keras-hub's presets; exact otherwise.
    """

    vocabulary_size: int
    layers: int
    heads: int
    width: int
    inner: int
    positions: int = 512
    epsilon: float = 1e-12
    approximate_gelu: bool = False


@dataclasses.dataclass(frozen=True)
class Bert:
    """A published BERT: sizes, vocabulary, and weights by the names of the variables of `bert_encoder`.

    `weights` is None where a checkpoint of a run holds them.
    """

    config: BertConfig
    vocabulary: tuple[str, ...]
    lower_case: bool = True
    strip_accents: bool | None = None
    weights: Mapping[str, np.ndarray] | None = dataclasses.field(default=None, compare=False, repr=False)

    def to_json(self) -> str:
        """All but the weights."""
        kept = dataclasses.replace(self, weights=None)
        return json.dumps(dataclasses.asdict(kept), ensure_ascii=False, indent=0) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Bert:
        """The inverse of `to_json`."""
        values = json.loads(text)
        return cls(BertConfig(**values.pop("config")), tuple(values.pop("vocabulary")), **values)


def bert_tokens(
    ids: keras.KerasTensor,
    mask: keras.KerasTensor,
    bert: Bert,
    *,
    frozen_layers: int = -1,
    dropout: float = 0.1,
    seed: int = 0,
) -> keras.KerasTensor:
    """The last hidden states of BERT.

    Args:
        ids: int32 (B, L), right-padded, L at most `positions`.
        mask: bool (B, L), True at tokens.
        bert: sizes and weights; random weights where it has none.
        frozen_layers: the embeddings and so many first blocks are never trained, in no stage, and run in inference
            mode; -1 freezes nothing, 0 the embeddings alone.
        dropout: share dropped in training, everywhere that BERT drops.
        seed: of the dropouts.

    Returns:
        (B, L, width).

    Raises:
        UserError: `frozen_layers` exceeds the number of blocks, or the weights do not fit.
    """
    config = bert.config
    if not -1 <= frozen_layers <= config.layers:
        raise UserError(f"--bert_frozen_layers={frozen_layers} is not between -1 and the {config.layers} of this BERT.")
    embeddings = TokenEmbeddings(
        config.vocabulary_size,
        config.positions,
        config.width,
        epsilon=config.epsilon,
        dropout=dropout,
        seed=seed,
        name=EMBEDDINGS,
    )
    layers: list[keras.layers.Layer] = [embeddings]
    x = embeddings(ids)
    for number in range(config.layers):
        layers.append(
            TransformerBlock(
                config.heads,
                config.inner,
                approximate_gelu=config.approximate_gelu,
                epsilon=config.epsilon,
                dropout=dropout,
                seed=seed + 10 * (number + 1),
                name=f"{LAYER}{number}",
            )
        )
        x = layers[-1](x, mask)
    if bert.weights is not None:
        _assign(layers, bert.weights)
    for layer in layers[: frozen_layers + 1]:
        layer.trainable = False
    return x


def bert_encoder(bert: Bert, **options: Any) -> keras.Model:
    """The model "bert", int32 ids (B, L) padded with 0 -> hidden states (B, L, width); options of `bert_tokens`."""
    ids = keras.Input((None,), dtype="int32", name="ids")
    return keras.Model(ids, bert_tokens(ids, PaddingMask(name="mask")(ids), bert, **options), name="bert")


def _assign(layers: list[keras.layers.Layer], weights: Mapping[str, np.ndarray]) -> None:
    variables = {weight.path: weight for layer in layers for weight in layer.weights}
    wrong = sorted(set(variables) ^ set(weights))
    wrong += [name for name in set(variables) & set(weights) if tuple(variables[name].shape) != weights[name].shape]
    if wrong:
        raise UserError(f"The weights of BERT do not fit its configuration: {', '.join(wrong[:3])}.")
    for name, variable in variables.items():
        variable.assign(weights[name])
