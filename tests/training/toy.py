"""A method small enough to compute by hand: two dense towers and the squared distance of their embeddings."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from xmkeras.layers import Dropout
from xmkeras.method import Batch, Losses, Method, Outputs, Phase
from xmkeras.models.encoder import Encoder, Part, Towers


def towers(dim: int = 3, *, norm: bool = False, dropout: float = 0.0) -> Towers:
    """(B, 4) "images" and (B, 5) "ids" to (B, dim); with batch norm in the image backbone on request."""
    image = keras.Input((4,), name="image")
    x = keras.layers.Dense(4, name="dense")(image)
    x = keras.layers.BatchNormalization(name="norm")(x) if norm else x
    x = Dropout(dropout, seed=1, name="dropout")(x) if dropout else x
    feature, ids = keras.Input((4,), name="feature"), keras.Input((5,), name="ids")
    backbone = keras.Model(image, x, name="image_backbone")
    head = keras.Model(feature, keras.layers.Dense(dim, name="out")(feature), name="image_head")
    text = keras.Model(ids, keras.layers.Dense(dim, name="out")(ids), name="text_encoder")
    features = ("image_features",)
    images = Encoder.chain(Part(backbone, ("image",), features), Part(head, features))
    return Towers({"image": images, "text": Encoder.chain(Part(text, ("text",)))})


class Distance(Method):
    """Mean squared distance of pairs."""

    @dataclasses.dataclass(frozen=True)
    class Params:
        """No options."""

    def losses(self, outputs: Outputs, batch: Batch) -> Losses:
        return {"distance": keras.ops.mean(keras.ops.square(outputs["image"] - outputs["text"]))}


class Rooted(Distance):
    """The root of a sum of squares as a second term: where all are 0 it is finite and its gradient is not."""

    gathered = ("scale",)

    def losses(self, outputs: Outputs, batch: Batch) -> Losses:
        return {**super().losses(outputs, batch), **self.root(outputs, batch)}

    @staticmethod
    def root(outputs: Outputs, batch: Batch) -> Losses:
        squares = keras.ops.square(outputs["image"] * batch["scale"][:, None])
        return {"root": keras.ops.sqrt(keras.ops.sum(squares))}


class Alternating(Distance):
    """Updates the image tower at every step and the text tower at every second one."""

    def phases(self) -> tuple[Phase, ...]:
        return (
            Phase("images", self.losses, "image_.*"),
            Phase(
                "texts", lambda outputs, batch: {"text_distance": self.losses(outputs, batch)["distance"]}, "text_.*", 2
            ),
        )


class Adversary(Distance):
    """The towers' distance, and a head that tells the two embeddings apart before each update of the towers."""

    passes = 0

    def __init__(self, towers: Towers, params: Any, num_labels: int):
        super().__init__(towers, params, num_labels)
        self.add_head("judge", keras.layers.Dense(1, name="judge"), None, 3)

    def outputs(self, *arguments: Any, **options: Any) -> Outputs:
        self.passes += 1
        return super().outputs(*arguments, **options)

    def phases(self) -> tuple[Phase, ...]:
        return (
            Phase("towers", self.losses, "(?!heads).*"),
            Phase("judge", self.judge, "heads/judge/.*", detached=True),
        )

    def losses(self, outputs: Outputs, batch: Batch) -> Losses:
        judged = self.heads["judge"](outputs["image"])
        return {**super().losses(outputs, batch), "judged": keras.ops.mean(judged)}

    def judge(self, outputs: Outputs, batch: Batch) -> Losses:
        judged = self.heads["judge"](keras.ops.stop_gradient(outputs["image"]))
        return {"judge": keras.ops.mean(keras.ops.square(judged - 1.0))}

    def gauges(self, outputs: Outputs, batch: Batch) -> Losses:
        return {"gap/rows": keras.ops.cast(keras.ops.shape(batch["label"])[0], "float32")}


def method(kind: type[Method] = Distance, seed: int = 0, **options: Any) -> Method:
    keras.utils.set_random_seed(seed)
    return kind(towers(**options), Distance.Params(), 4)


@dataclasses.dataclass
class Batches:
    """Random batches as a pure function of the step; that of `nan_at` holds a NaN, that of `zero_at` a scale of 0."""

    size: int = 6
    nan_at: int = -1
    zero_at: int = -1
    bad_rows: list[int] = dataclasses.field(default_factory=list)

    def batch(self, step: int) -> dict[str, tf.Tensor]:
        generator = np.random.default_rng(step)
        image = generator.normal(size=(self.size, 4)).astype(np.float32)
        if step == self.nan_at:
            image[2] = np.nan
        numbers = np.arange(self.size, dtype=np.int64)
        values = {"image": image, "text": generator.normal(size=(self.size, 5)).astype(np.float32)}
        values["scale"] = np.full(self.size, float(step != self.zero_at), np.float32)
        return {
            n: tf.constant(v) for n, v in (values | {"label": numbers, "image_id": numbers, "row": numbers}).items()
        }

    def iterate(self, start_step: int, distribute: Callable[[Any], Any]) -> Iterator[dict[str, tf.Tensor]]:
        step = start_step
        while True:
            yield self.batch(step)
            step += 1
