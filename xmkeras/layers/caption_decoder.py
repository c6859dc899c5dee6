"""The caption branch of VSRN, which is there in training only: regions to the words of a caption."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from xmkeras.layers.noise import Dropout
from xmkeras.layers.recurrent import PortableGRU

Tensor = Any


@keras.saving.register_keras_serializable(package="xmkeras")
class CaptionDecoder(keras.layers.Layer):
    """A GRU over regions, and one with additive attention to its states that predicts each next word.

    Regions (B, n, d) pass a dense layer, dropout and the first GRU, whose last state begins the second. At each word
    that reads its vector beside what it attends to: weights softmax(w . tanh(W [state of the encoder, own state])), of
    Li et al., ICCV 2019, as released (teacher forcing always).

    Args:
        vocabulary_size: number of ids V.
        units: of both GRUs, of the dense layer and of the attention.
        word_dim: size of the word vectors.
        dropout: share of the dense layer's outputs dropped in training.
        seed: of the dropout.

    Call arguments:
        regions: (B, n, d).
        ids: (B, L) integers, the words of the captions, the first of which are given.

    Returns:
        Logits (B, L, V), float32, of the word that follows each.
    """

    def __init__(
        self,
        vocabulary_size: int,
        units: int = 512,
        word_dim: int = 300,
        dropout: float = 0.2,
        seed: int = 0,
        **options: Any,
    ):
        super().__init__(**options)
        self.vocabulary_size = vocabulary_size
        self.units = units
        self.word_dim = word_dim
        self.dropout = dropout
        self.seed = seed
        same = {"dtype": self.dtype_policy}
        self.projection = keras.layers.Dense(units, name="projection", **same)
        self.noise = Dropout(dropout, seed=seed, name="noise", **same)
        self.encoder = PortableGRU(units, return_sequences=True, return_state=True, name="encoder", **same)
        self.words = keras.layers.Embedding(vocabulary_size, word_dim, name="words", **same)
        self.of_regions = keras.layers.Dense(units, name="of_regions", **same)
        self.of_state = keras.layers.Dense(units, use_bias=False, name="of_state", **same)
        self.score = keras.layers.Dense(1, use_bias=False, name="score", **same)
        self.cell = PortableGRU(units, name="decoder", **same).cell
        self.logits = keras.layers.Dense(vocabulary_size, name="logits", dtype="float32")

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        states = (None, None, self.units)
        self.projection.build(input_shape)
        for layer in (self.encoder, self.of_regions, self.of_state, self.score, self.logits):
            layer.build(states)
        self.words.build((None, None))
        self.cell.build((None, self.word_dim + self.units))
        self.built = True

    def call(self, regions: Tensor, ids: Tensor, training: bool = False) -> Tensor:
        states, first = self.encoder(self.noise(self.projection(regions), training=training), training=training)
        mapped = self.of_regions(states)

        def step(state: Tensor, word: Tensor) -> tuple[Tensor, Tensor]:
            suited = self.score(ops.tanh(mapped + self.of_state(state)[:, None]))
            seen = ops.sum(ops.softmax(suited, axis=1) * states, axis=1)
            state, _ = self.cell(ops.concatenate([word, seen], axis=-1), [state])
            return state, state

        words = ops.transpose(self.words(ids), (1, 0, 2))
        _, told = ops.scan(step, first, words)
        return self.logits(ops.transpose(told, (1, 0, 2)))

    @property
    def variables(self) -> list[keras.Variable]:
        # The cell draws nothing, and its random state is called differently in every process.
        return [variable for variable in super().variables if variable is not self.cell.seed_generator.state]

    def compute_output_shape(self, regions: tuple[int | None, ...], ids: tuple[int | None, ...]) -> tuple[Any, ...]:
        return (*ids, self.vocabulary_size)

    def get_config(self) -> dict[str, Any]:
        names = ("vocabulary_size", "units", "word_dim", "dropout", "seed")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}
