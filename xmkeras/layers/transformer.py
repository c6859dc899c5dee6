"""The layers of a BERT encoder (Devlin et al., NAACL 2019): embeddings, self-attention and post-norm blocks."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from xmkeras.layers.noise import Dropout

Tensor = Any


class _Block(keras.layers.Layer):
    """Base: a block none of whose variables is trained runs in inference mode, so that freezing stops its dropout."""

    def _learns(self, training: bool | None) -> bool:
        return bool(training) and bool(self.trainable_variables)

    def _dropout(self, name: str, rate: float, seed: int) -> Dropout:
        # The random state's name does not contain that of the block, so it has to be in the layer's own.
        return Dropout(rate, seed=seed, name=f"{self.name}_{name}")


def _norm(name: str, epsilon: float) -> keras.layers.LayerNormalization:
    return keras.layers.LayerNormalization(epsilon=epsilon, name=name)


def _dense(units: int, name: str) -> keras.layers.Dense:
    return keras.layers.Dense(units, kernel_initializer=_initializer(), name=name)


def _initializer() -> keras.initializers.Initializer:
    return keras.initializers.TruncatedNormal(stddev=0.02)


@keras.saving.register_keras_serializable(package="xmkeras")
class TokenEmbeddings(_Block):
    """Token and position vectors, layer norm, dropout: ids (B, L) -> (B, L, width).

    There is one segment of text; the vector that BERT adds for it belongs to `positions`.

    Args:
        vocabulary_size: number of ids.
        positions: the most tokens that a text can have.
        width: size of the vectors.
        epsilon: of the layer norm.
        dropout: share of the values dropped in training.
        seed: of the dropout.
    """

    def __init__(
        self,
        vocabulary_size: int,
        positions: int,
        width: int,
        *,
        epsilon: float = 1e-12,
        dropout: float = 0.1,
        seed: int = 0,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.sizes = {"vocabulary_size": vocabulary_size, "positions": positions, "width": width}
        self.options = {"epsilon": epsilon, "dropout": dropout, "seed": seed}
        self.norm = _norm("norm", epsilon)
        self.dropout = self._dropout("dropout", dropout, seed) if dropout else None

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        width, initializer = self.sizes["width"], _initializer()
        self.words = self.add_weight(
            shape=(self.sizes["vocabulary_size"], width), initializer=initializer, name="words"
        )
        self.positions = self.add_weight(
            shape=(self.sizes["positions"], width), initializer=initializer, name="positions"
        )
        self.norm.build((None, None, width))
        self.built = True

    def call(self, ids: Tensor, training: bool = False) -> Tensor:
        x = ops.take(ops.convert_to_tensor(self.words), ids, axis=0)
        x = self.norm(x + ops.convert_to_tensor(self.positions)[: ops.shape(ids)[1]])
        return x if self.dropout is None else self.dropout(x, training=self._learns(training))

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return (*input_shape, self.sizes["width"])

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), **self.sizes, **self.options}


@keras.saving.register_keras_serializable(package="xmkeras")
class SelfAttention(_Block):
    """Multi-head scaled dot-product attention of a sequence to itself, (B, L, d) with mask (B, L) -> (B, L, d).

    Scores and their softmax are float32. Masked tokens are attended by none.

    Args:
        heads: number of heads; divides d.
        dropout: share of the attention weights dropped in training.
        seed: of the dropout.
    """

    def __init__(self, heads: int, *, dropout: float = 0.1, seed: int = 0, **kwargs: Any):
        super().__init__(**kwargs)
        self.heads = heads
        self.options = {"dropout": dropout, "seed": seed}
        self.dropout = self._dropout("dropout", dropout, seed) if dropout else None

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        width = input_shape[-1]
        if width is None or width % self.heads:
            raise ValueError(f"{self.heads} heads do not divide vectors of size {width}.")
        names = ("query", "key", "value", "output")
        self.query, self.key, self.value, self.projection = (_dense(width, name) for name in names)
        for layer in (self.query, self.key, self.value, self.projection):
            layer.build(input_shape)
        self.built = True

    def call(self, x: Tensor, mask: Tensor, training: bool = False) -> Tensor:
        batch, length, width = ops.shape(x)
        size = width // self.heads

        def split(projected: Tensor) -> Tensor:
            return ops.transpose(ops.reshape(projected, (batch, length, self.heads, size)), (0, 2, 1, 3))

        keys = ops.transpose(split(self.key(x)), (0, 1, 3, 2))
        scores = ops.cast(ops.matmul(split(self.query(x)), keys), "float32") * size**-0.5
        scores = ops.where(ops.expand_dims(mask, (1, 2)), scores, -1e9)
        shares = ops.cast(ops.softmax(scores, axis=-1), x.dtype)
        if self.dropout is not None:
            shares = self.dropout(shares, training=self._learns(training))
        mixed = ops.transpose(ops.matmul(shares, split(self.value(x))), (0, 2, 1, 3))
        return self.projection(ops.reshape(mixed, (batch, length, width)))

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "heads": self.heads, **self.options}


@keras.saving.register_keras_serializable(package="xmkeras")
class TransformerBlock(_Block):
    """Self-attention and a feed-forward net, each added to its input and normalised, (B, L, d) -> (B, L, d).

    Args:
        heads: of the attention.
        inner: size of the hidden layer of the feed-forward net.
        approximate_gelu: the tanh form of GELU; exact otherwise.
        epsilon: of the layer norms.
        dropout: share dropped in training of the attention weights and of what is added.
        seed: of the dropouts.
    """

    def __init__(
        self,
        heads: int,
        inner: int,
        *,
        approximate_gelu: bool = False,
        epsilon: float = 1e-12,
        dropout: float = 0.1,
        seed: int = 0,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.sizes = {"heads": heads, "inner": inner}
        self.options = {"approximate_gelu": approximate_gelu, "epsilon": epsilon, "dropout": dropout, "seed": seed}
        # Its dropout's random state needs a name of its own too, hence not merely "attention".
        self.attention = SelfAttention(heads, dropout=dropout, seed=seed, name=f"{self.name}_attention")
        self.attention_norm = _norm("attention_norm", epsilon)
        self.output_norm = _norm("output_norm", epsilon)
        self.dropouts = [self._dropout(f"dropout_{n}", dropout, seed + n) for n in (1, 2)] if dropout else []

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        self.inner, self.outer = _dense(self.sizes["inner"], "inner"), _dense(int(input_shape[-1] or 0), "outer")
        for layer in (self.attention, self.attention_norm, self.inner, self.output_norm):
            layer.build(input_shape)
        self.outer.build((*input_shape[:-1], self.sizes["inner"]))
        self.built = True

    def call(self, x: Tensor, mask: Tensor, training: bool = False) -> Tensor:
        training = self._learns(training)
        attended = self.attention(x, mask, training=training)
        x = self.attention_norm(x + self._drop(attended, 0, training))
        hidden = keras.activations.gelu(self.inner(x), approximate=self.options["approximate_gelu"])
        return self.output_norm(x + self._drop(self.outer(hidden), 1, training))

    def _drop(self, x: Tensor, number: int, training: bool) -> Tensor:
        return self.dropouts[number](x, training=training) if self.dropouts else x

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), **self.sizes, **self.options}


@keras.saving.register_keras_serializable(package="xmkeras")
class InnerTokens(keras.layers.Layer):
    """Takes the first and the last token, [CLS] and [SEP], from right-padded sequences.

    Features (B, L, d) and mask (B, L), L >= 3 -> features (B, L-2, d) and their mask (B, L-2). A text without a token
    between the two keeps its last one, so that every row has something to read.
    """

    def call(self, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        first = ops.ones_like(mask[:, :1])
        return x[:, 1:-1], ops.concatenate([first, mask[:, 3:]], axis=1)
