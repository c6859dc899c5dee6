"""The interface of a method: towers, losses, and the order in which they are trained."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import keras

if TYPE_CHECKING:
    from xmkeras.models.encoder import Towers

Tensor = Any
Batch = Mapping[str, Tensor]
Outputs = dict[str, Tensor]
Losses = dict[str, Tensor]
Similarity = Literal["cosine", "euclidean", "pairs"]
Encode = Callable[[str, Batch, bool], Mapping[str, Tensor]]


@dataclasses.dataclass(frozen=True)
class Clock:
    """Where in a run a step stands.

    Attributes:
        step: number of steps done before it, from 0.
        steps_per_epoch: of the training batches.
        total_steps: of the whole run.
    """

    step: int
    steps_per_epoch: int
    total_steps: int

    @property
    def progress(self) -> float:
        """The share of the run that is done, 0 to 1."""
        return self.step / self.total_steps

    @property
    def epoch(self) -> int:
        """The number of the epoch, from 0."""
        return self.step // self.steps_per_epoch

    @property
    def begins_epoch(self) -> bool:
        return self.step % self.steps_per_epoch == 0


@dataclasses.dataclass(frozen=True)
class Phase:
    """One of the updates that make up a training step.

    Attributes:
        name: shown in logs.
        losses: `(outputs, batch) -> {name: scalar}`; their sum is minimised.
        variables: regular expression on the names of `Method.named_variables` that this phase updates.
        every: the phase runs at each step whose number divides by it.
        detached: the losses send no gradient into the towers. Such a phase comes first in a step, whatever its place,
            and shares the embeddings of the next one that trains the towers instead of a pass of its own.
    """

    name: str
    losses: Callable[[Outputs, Batch], Losses]
    variables: str = ".*"
    every: int = 1
    detached: bool = False


class Method(abc.ABC):
    """A way to train towers into one embedding space.

    A subclass sets `Params` (a frozen dataclass whose fields become the flags `--<method>.<field>`) and writes
    `losses`; it adds trainable layers that only training needs with `add_head`. It sees one global batch and knows
    nothing of replicas, precision, checkpoints or export, nor of what kind the inputs of a side are.

    Args:
        towers: an encoder for each of `sides`.
        params: an instance of `Params`.
        num_labels: number of labels of the training split's table (classes, identities or images).

    Attributes:
        sides: what the method embeds: images and texts, or images alone.
        gathered: the batch entries that the losses need beside the outputs, labels, image ids and row numbers.
        shard: how many images and texts `score` is called with in evaluation.
    """

    Params: ClassVar[type]
    sides: ClassVar[tuple[str, ...]] = ("image", "text")
    gathered: tuple[str, ...] = ()
    shard: ClassVar[tuple[int, int]] = (128, 256)

    def __init__(self, towers: Towers, params: Any, num_labels: int):
        self.towers = towers
        self.params = params
        self.num_labels = num_labels
        self.heads: dict[str, keras.layers.Layer] = {}

    @classmethod
    def encoder_options(cls, params: Any) -> dict[str, dict[str, Any]]:
        """What the method asks of the encoder of a side, beyond the run's own options: side -> keyword -> value.

        They reach the function of `xmkeras.models` that builds the encoder; one that cannot give it is refused.
        """
        return {}

    def add_head(self, name: str, layer: keras.layers.Layer, *input_shape: int | None) -> None:
        """Builds `layer` for inputs of `input_shape` and registers it under `heads/<name>`."""
        layer.build(input_shape)
        self.heads[name] = layer

    def outputs(self, batch: Batch, training: bool, encode: Encode | None = None) -> Outputs:
        """What the encoders make of a batch: `image` and `text`, (B, d), not normalised, and what else they give.

        Embeddings of many vectors an item are (B, n, d) beside `image/mask` or `text/mask`, bool (B, n). Numbers are
        float32. `encode` stands in for `self.towers.encode` where the caller has compiled it.
        """
        encode = encode or self.towers.encode
        given = [encode(side, batch, training) for side in self.towers.sides]
        return {name: _float32(value) for outputs in given for name, value in outputs.items()}

    @abc.abstractmethod
    def losses(self, outputs: Outputs, batch: Batch) -> Losses:
        """The named scalar loss terms of a global batch; their sum is minimised."""

    def phases(self) -> tuple[Phase, ...]:
        """The updates of one step; one joint update unless a method alternates."""
        return (Phase("joint", self.losses),)

    def gauges(self, outputs: Outputs, batch: Batch) -> Losses:
        """Scalars of a step that are shown and not minimised; a slash in a name keeps it off the progress line."""
        return {}

    def warning(self, step: int, numbers: Mapping[str, float]) -> str:
        """What a person should know of the numbers logged at a step, "" for nothing; called at each log."""
        return ""

    def start_step(self, clock: Clock) -> None:  # noqa: B027 - most methods have no schedule of their own
        """Called before each step, outside of any graph; schedules of a method follow the clock."""

    @property
    def retrieval_towers(self) -> Towers:
        """The towers whose embeddings are ranked, measured and exported: by default those that are trained."""
        return self.towers

    @property
    def similarity(self) -> Similarity:
        """By what items are ranked everywhere: the cosine or the distance of their embeddings, or `score` alone.

        With "pairs" nothing is assumed of `score`, which is then computed for all pairs in shards.
        """
        return "cosine"

    def score(self, outputs: Outputs) -> Tensor:
        """How well every image of `outputs` fits every text, or every image: (n, ...), (m, ...) -> float32 (n, m).

        The cosine, or minus the Euclidean distance; a method whose `similarity` is "pairs" writes its own.
        """
        ops = keras.ops
        image, text = outputs["image"], outputs.get("text", outputs["image"])
        if self.similarity == "cosine":
            return ops.matmul(ops.normalize(image, axis=-1), ops.transpose(ops.normalize(text, axis=-1)))
        squares = [ops.sum(ops.square(side), axis=-1) for side in (image, text)]
        products = ops.matmul(image, ops.transpose(text))
        # Not 0, where the square root has no gradient.
        return -ops.sqrt(ops.maximum(squares[0][:, None] + squares[1] - 2.0 * products, 1e-12))

    @property
    def attends(self) -> bool:
        """Whether words look at regions, so that `attention` can show where."""
        return False

    def attention(self, outputs: Outputs) -> Tensor:
        """The shares (n, words, regions) of the regions of image i that each word of text i looks at."""
        raise NotImplementedError(f"{type(self).__name__} has no attention")

    @property
    def score_heads(self) -> dict[str, keras.layers.Layer]:
        """The heads that `score` uses, which are exported with the towers: all, unless a method says otherwise."""
        return self.heads

    def named_parts(self) -> dict[str, keras.layers.Layer]:
        """All layers of the method by the first part of their variables' names."""
        heads = {f"heads/{name}": layer for name, layer in self.heads.items()}
        return {**self.towers.named_parts, **heads}

    def named_variables(self) -> dict[str, keras.Variable]:
        """Every variable once, by a name that is the same in every process."""
        named: dict[str, keras.Variable] = {}
        for prefix, part in self.named_parts().items():
            for variable in part.variables:
                path = variable.path.removeprefix(f"{part.name}/")
                name = f"{prefix}/{path}"
                if name in named:
                    raise ValueError(f"Two variables of {prefix} are called {path!r}; give their layers fixed names.")
                named[name] = variable
        return named


def _float32(value: Tensor) -> Tensor:
    """Numbers in float32; masks and counts as they are."""
    floating = "float" in keras.backend.standardize_dtype(value.dtype)
    return keras.ops.cast(value, "float32") if floating else value
