"""The interface of a method: towers, losses, and the order in which they are trained."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import keras

if TYPE_CHECKING:
    from xmkeras.models.features import FeatureTowers
    from xmkeras.models.towers import Towers

Tensor = Any
Batch = Mapping[str, Tensor]
Outputs = dict[str, Tensor]
Losses = dict[str, Tensor]


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
    """A way to train two towers into one embedding space.

    A subclass sets `Params` (a frozen dataclass whose fields become the flags `--<method>.<field>`) and writes
    `losses`; it adds trainable layers that only training needs with `add_head`. It sees one global batch and knows
    nothing of replicas, precision, checkpoints or export.

    Args:
        towers: the image and the text tower, over images and words or over feature vectors.
        params: an instance of `Params`.
        num_labels: number of labels of the training split's table (classes, identities or images).
    """

    Params: ClassVar[type]

    def __init__(self, towers: Towers | FeatureTowers, params: Any, num_labels: int):
        # Any: every method takes either kind, and what they share is named_parts, image_head and text_encoder.
        self.towers: Any = towers
        self.params = params
        self.num_labels = num_labels
        self.heads: dict[str, keras.layers.Layer] = {}

    def add_head(self, name: str, layer: keras.layers.Layer, *input_shape: int | None) -> None:
        """Builds `layer` for inputs of `input_shape` and registers it under `heads/<name>`."""
        layer.build(input_shape)
        self.heads[name] = layer

    def embed_images(self, batch: Batch, training: bool) -> Tensor:
        """Image embeddings (B, d) of `image` (B, H, W, 3), or of `image_features` (B, f), cached or the set's own."""
        if "image_features" in batch:
            return self.towers.image_head(batch["image_features"], training=training)
        return self.towers.image(batch["image"], training=training)

    def embed_texts(self, batch: Batch, training: bool) -> Tensor:
        """Text embeddings (B, d) of token ids `text` (B, L), of BERT's cached vectors of the tokens, or of
        `text_features` (B, t)."""
        if "text_tokens" in batch:
            return self.towers.encode_text_tokens(batch["text_tokens"], batch["text_mask"], training=training)
        if "text_features" in batch:
            return self.towers.text_encoder(batch["text_features"], training=training)
        return self.towers.text_encoder(batch["text"], training=training)

    def outputs(
        self, batch: Batch, training: bool, embed_images: Callable[[Batch, bool], Tensor] | None = None
    ) -> Outputs:
        """Embeds a batch: `image` (B, d) and `text` (B, d), float32, not normalised.

        `embed_images` stands in for `self.embed_images` where the caller has compiled it.
        """
        embeddings = {
            "image": (embed_images or self.embed_images)(batch, training),
            "text": self.embed_texts(batch, training),
        }
        return {name: keras.ops.cast(value, "float32") for name, value in embeddings.items()}

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

    def set_progress(self, progress: float) -> None:  # noqa: B027 - most methods have no schedule of their own
        """Called before each step with the share of the run that is done, 0 to 1; schedules of a method follow it."""

    @property
    def retrieval_towers(self) -> Any:
        """The towers whose embeddings are ranked, measured and exported: by default those that are trained."""
        return self.towers

    @property
    def distance(self) -> Literal["cosine", "euclidean"]:
        """By what embeddings are ranked, in evaluation and search."""
        return "cosine"

    def score(self, image: Tensor, text: Tensor) -> Tensor:
        """Similarity of every image with every text, (n, d) x (m, d) -> (n, m): the cosine by default."""
        normalize = keras.ops.normalize
        return keras.ops.matmul(normalize(image, axis=-1), keras.ops.transpose(normalize(text, axis=-1)))

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
