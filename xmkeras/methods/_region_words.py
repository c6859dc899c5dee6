"""What SCAN, BFAN and VSRN share: losses on the scores of a batch, ADDR, and scores of words with regions."""

from __future__ import annotations

import abc
import dataclasses
import math
from typing import Any, ClassVar

import keras

from xmkeras.losses.batch_scores import hardest_negatives, hinge_of_hardest, score_softmax
from xmkeras.losses.pairs import equal_labels
from xmkeras.losses.ranking import ranking_hinge
from xmkeras.method import Batch, Losses, Method, Outputs, Phase, Similarity, Tensor
from xmkeras.methods._domains import HEAD, DomainParams, Elements, domain_head, domain_terms
from xmkeras.models.encoder import Towers
from xmkeras.models.regions import Regions
from xmkeras.models.words import LAYERS, Words
from xmkeras.options import option

LOSSES = ("hinge", "all_hinge", "softmax")
_JUDGES = f"heads/{HEAD}/.*"
Hardest = tuple[Tensor, Tensor]


@dataclasses.dataclass(frozen=True)
class MatchingParams(DomainParams):
    """The options that the three methods share, flags `--<method>.<field>`.

    Raises:
        UserError: a value outside its range or choices.
    """

    loss: str = option(
        "hinge",
        "Hinge on the hardest negatives, as released, or on all, summed over the batch; or the softmax over the "
        "batch's scores, which learns from few images.",
        LOSSES,
    )
    margin: float = option(0.2, "Margin of the hinge.", least=0)
    mask_same_image: bool = option(
        False, "Other captions of an image are no negatives of it; in the releases they are, in the softmax never."
    )
    temperature: float = option(0.05, "Divides the scores in the softmax.", above=0)
    learn_temperature: bool = option(False, "The temperature is learnt, from that value on.")


class RegionWords(Method):
    """A method that scores images with sentences by their regions and words.

    A subclass writes `scores`, and the options of its encoders.
    """

    Params: ClassVar[type[MatchingParams]]

    def __init__(self, towers: Towers, params: Any, num_labels: int):
        super().__init__(towers, params, num_labels)
        if params.loss == "softmax" and params.learn_temperature:
            self.add_head("temperature", _Temperature(params.temperature, name="temperature"))
        head = domain_head(params, num_labels, towers.embedding_dim)
        if head is not None:
            self.heads[HEAD] = head

    @abc.abstractmethod
    def scores(self, outputs: Outputs, *, pairs: bool = False) -> Tensor:
        """Of every image with every text, (n, m), or with `pairs` of row i with row i, (n,)."""

    def elements(self, outputs: Outputs) -> Elements:
        """The words and regions that ADDR cannot tell apart in the end."""
        return Elements(outputs["text"], outputs["image"], outputs["text/mask"], outputs["image/mask"])

    def phases(self) -> tuple[Phase, ...]:
        """One joint update; before it one of ADDR's classifiers where these have weights of their own."""
        if HEAD not in self.heads:
            return (Phase("joint", self.losses),)
        return Phase("domains", self._judge, _JUDGES, detached=True), Phase("towers", self.losses, f"(?!{_JUDGES}).*")

    def losses(self, outputs: Outputs, batch: Batch) -> Losses:
        """The ranking loss, and ADDR's two terms, in the unit of the ranking loss: hinges are summed over the batch."""
        loss, hardest = self._rank(outputs, batch)
        terms: Losses = {self.params.loss: loss}
        if self.params.addr:
            size = keras.ops.cast(keras.ops.shape(batch["label"])[0], "float32")
            unit = 1.0 if self.params.loss == "softmax" else size
            for name, term in self._domain_terms(outputs, batch, hardest).items():
                terms[name] = unit * term
        return terms

    def gauges(self, outputs: Outputs, batch: Batch) -> Losses:
        """The temperature where it is learnt."""
        return {"temperature": self._temperature()} if "temperature" in self.heads else {}

    def _judge(self, outputs: Outputs, batch: Batch) -> Losses:
        hardest = self._hardest(self._constant_scores(outputs), batch)
        return self._domain_terms(outputs, batch, hardest, judging=True)

    def _domain_terms(self, outputs: Outputs, batch: Batch, hardest: Hardest, **how: bool) -> Losses:
        head = self.heads.get(HEAD)
        return domain_terms(self.params, self.elements(outputs), batch["label"], hardest, head, **how)

    def _rank(self, outputs: Outputs, batch: Batch) -> tuple[Tensor, Hardest]:
        """The ranking loss, and whose text and image are the hardest negatives of each pair."""
        if self.params.loss == "softmax":
            return self._softmax(outputs, batch)
        margin, ids = self.params.margin, batch["image_id"]
        if self.params.loss == "hinge":
            hardest = self._hardest(self._constant_scores(outputs), batch)
            return hinge_of_hardest(lambda i, j: self._pairs(outputs, i, j), *hardest, margin=margin), hardest
        scores = self.scores(outputs)
        mask = "image" if self.params.mask_same_image else "diagonal"
        return ranking_hinge(scores, image_ids=ids, mask=mask, margin=margin), self._hardest(scores, batch)

    def _softmax(self, outputs: Outputs, batch: Batch) -> tuple[Tensor, Hardest]:
        """Of each image of the batch once, however many of its captions are there."""
        ops, ids = keras.ops, batch["image_id"]
        first = ops.argmax(ops.cast(equal_labels(ids, ids), "int32"), axis=1)
        is_first = ops.equal(first, ops.arange(ops.shape(first)[0], dtype=first.dtype))
        (places,) = ops.nonzero(is_first)
        scores = self.scores({**outputs, **_taken(outputs, "image", places)})
        loss = score_softmax(scores, ops.take(ids, places), ids, temperature=self._temperature())
        number = ops.cumsum(ops.cast(is_first, "int32")) - 1
        of_pairs = ops.take(scores, ops.take(number, first), axis=0)
        return loss, hardest_negatives(of_pairs, ids)

    def _constant_scores(self, outputs: Outputs) -> Tensor:
        """The scores of all pairs, through which no gradient flows."""
        stop = keras.ops.stop_gradient
        return stop(self.scores({name: stop(value) for name, value in outputs.items()}))

    def _hardest(self, scores: Tensor, batch: Batch) -> Hardest:
        masked = self.params.mask_same_image or self.params.loss == "softmax"
        return hardest_negatives(scores, batch["image_id"] if masked else None)

    def _pairs(self, outputs: Outputs, images: Tensor, texts: Tensor) -> Tensor:
        return self.scores({**_taken(outputs, "image", images), **_taken(outputs, "text", texts)}, pairs=True)

    def _temperature(self) -> Tensor | float:
        return self.heads["temperature"](None) if "temperature" in self.heads else self.params.temperature


class PairScored(RegionWords):
    """One whose images and texts are many vectors each, ranked by a score that looks at all of them."""

    shard: ClassVar[tuple[int, int]] = (128, 16)

    @classmethod
    def encoder_options(cls, params: Any) -> dict[str, dict[str, Any]]:
        return {"image": {"regions": Regions()}, "text": {"words": Words(params.words)}}

    @property
    def similarity(self) -> Similarity:
        return "pairs"

    @property
    def score_heads(self) -> dict[str, keras.layers.Layer]:
        return {}

    def score(self, outputs: Outputs) -> Tensor:
        """How well every image of `outputs` fits every text, float32 (n, m)."""
        return self.scores(outputs)


def words_option() -> Any:
    """The field of what reads the word vectors."""
    return option(
        "gru",
        "What reads the word vectors: the mean of both directions of a GRU, or a dense layer, which does for BERT's.",
        LAYERS,
    )


def both_sides(outputs: Outputs) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None]:
    """Regions, words and their masks, as scores take them."""
    return outputs["image"], outputs["text"], outputs.get("image/mask"), outputs.get("text/mask")


def _taken(outputs: Outputs, side: str, places: Tensor) -> Outputs:
    """The rows of a side's outputs at `places`."""
    own = {name: value for name, value in outputs.items() if name.split("/")[0] == side}
    return {name: keras.ops.take(value, places, axis=0) for name, value in own.items()}


class _Temperature(keras.layers.Layer):
    """A positive number that is learnt by its logarithm."""

    def __init__(self, value: float, **options: Any):
        super().__init__(**{"dtype": "float32", **options})
        start = keras.initializers.Constant(math.log(value))
        self.logarithm = self.add_weight(shape=(), initializer=start, name="logarithm")
        self.built = True

    def call(self, inputs: None) -> Tensor:
        return keras.ops.exp(self.logarithm)
