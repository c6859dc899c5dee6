"""Deep metric learning of images alone: general discriminative features, class adversaries, losses of the field."""

from __future__ import annotations

import dataclasses
import math
import random
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import keras

from xmkeras.errors import UserError
from xmkeras.layers import Dropout, EmbeddingQueue, EpochMean, GradientReversal
from xmkeras.losses import (
    angular_all_pairs,
    class_adversary,
    energy_confusion,
    multi_similarity,
    n_pair_angular,
    norm_softmax,
    proxy_anchor,
    proxy_nca,
    soft_triple,
    supervised_contrastive,
    triplet_semihard_all,
)
from xmkeras.losses.pairs import one_pair_a_class
from xmkeras.losses.similarity import unit
from xmkeras.method import Batch, Clock, Losses, Method, Outputs, Phase, Tensor
from xmkeras.models.encoder import Towers
from xmkeras.models.maps import ATTENTIONS, Fusion
from xmkeras.options import Options, option

LOSS_NAMES = (
    "triplet",
    "angular",
    "proxy_nca",
    "proxy_anchor",
    "multi_similarity",
    "norm_softmax",
    "soft_triple",
    "supcon",
)
EXTENSIONS = ("base", "gdfl", "adversary", "energy", "soft_adv", "adapt_adv")
ANGULAR_FORMS = ("n_pair", "all_pairs")
_FUSED = ("gdfl", "soft_adv", "adapt_adv")
_ADVERSARIES = {"adversary": "adaptive", "soft_adv": "soft", "adapt_adv": "adaptive"}
_CLASSIFIER = "heads/classifier/.*"


class Dml(Method):
    """Al-Kaabi, Monsefi and Zabihzadeh, "A Framework to Enhance Generalization of Deep Metric Learning methods using
    General Discriminative Feature Learning and Class Adversarial Neural Networks" (paper 002).

    A metric loss (`--dml.loss`) on the embeddings, and what extends it (`--dml.extension`):

    - base: nothing. The embedding is made of the pooled last features.
    - energy: and the mean squared distance between classes, minimised (equation 7).
    - gdfl: the embedding is made of inner maps, each pooled by its attention to the last features (8 to 15).
    - adversary: the adaptive adversary on the pooled last features ("+Adv" of Table 6).
    - soft_adv: gdfl, with a classifier on the feature whose smoothed loss the extractor minimises too (20).
    - adapt_adv: gdfl, with a classifier that the extractor works against while its loss is below the threshold and
      with while it is above (23 to 25): lambda = -tanh(l_c - threshold) lambda_0, set once an epoch of the mean l_c of
      the last one, of ln C in the first.

    The classifier always minimises its own loss, with its own optimizer, on features that it does not change; it sees
    the feature before the embedding and before dropout. (Equation 24 as printed would let it maximise its loss while
    lambda is below 0.) Embeddings are ranked by their cosine.
    """

    sides: ClassVar[tuple[str, ...]] = ("image",)

    @dataclasses.dataclass(frozen=True)
    class Params(Options, prefix="dml."):
        """The options, flags `--dml.<field>`; what the paper leaves open is said in the help.

        Raises:
            UserError: a value outside its range or choices.
        """

        loss: str = option("triplet", "Metric loss on the embeddings; the first three are the paper's.", LOSS_NAMES)
        extension: str = option("adapt_adv", "What extends it, see the rows of the paper's tables.", EXTENSIONS)
        maps: str = option(
            "auto", "Layers of the image tower whose maps are attended to, with commas; auto: two of each tower."
        )
        attention: str = option("additive", "How a map is pooled; mean is the control without attention.", ATTENTIONS)
        include_last: bool = option(False, "The pooled last features are part of the fused feature (open).")
        lambda_0: float = option(
            0.5, "Weight of the soft, largest weight of the adaptive adversary (.1, .5 or 1).", least=0
        )
        threshold: float = option(1.5, "Loss of the classifier at which the adaptive adversary turns.", least=0)
        smoothing: float = option(
            0.15, "Share of the soft adversary's targets that all classes are given.", least=0, below=1
        )
        classifier_hidden: int = option(512, "Hidden units of the classifier (open).", least=1, most=2**16)
        classifier_dropout: float = option(0.1, "Dropout on the classifier's hidden units.", least=0, below=1)
        memory: int = option(
            0,
            "Embeddings of former batches, less than an epoch has, that are further references of a loss that takes "
            "any; 0: none.",
            least=0,
            most=2**24,
        )
        memory_weight: float = option(1.0, "Weight of the loss against these; it begins when all are there.", least=0)
        energy_weight: float = option(0.13, "Weight of energy confusion (open; of its authors for cars).", least=0)
        triplet_margin: float = option(0.01, "Margin of the semi-hard triplets, of distances of unit vectors.", above=0)
        angle: float = option(45.0, "Angle of the angular loss, in degrees.", above=0, below=90)
        angular_form: str = option(
            "n_pair",
            "N-pair plus twice the angular loss on one pair a class, embeddings as they are, as its authors; or the "
            "angular loss of all pairs of unit vectors, as PyTorch Metric Learning.",
            ANGULAR_FORMS,
        )
        embedding_length: float = option(3.0, "Length that Proxy-NCA gives to embeddings; 1 for products.", above=0)
        proxy_length: float = option(3.0, "Length that Proxy-NCA gives to proxies; 8 for products.", above=0)
        proxy_smoothing: float = option(
            0.1, "Share of Proxy-NCA's targets that wrong classes are given.", least=0, below=1
        )
        anchor_margin: float = option(0.1, "Margin of Proxy-Anchor.", least=0)
        anchor_scale: float = option(32.0, "Sharpness of Proxy-Anchor.", above=0)
        similarity_alpha: float = option(2.0, "Sharpness of the positives of multi-similarity.", above=0)
        similarity_beta: float = option(50.0, "Sharpness of the negatives of multi-similarity.", above=0)
        similarity_base: float = option(0.5, "Cosine from which the pairs of multi-similarity count.", least=-1, most=1)
        similarity_epsilon: float = option(0.1, "Slack of the mining of multi-similarity.", least=0)
        softmax_temperature: float = option(0.05, "Temperature of norm-softmax.", above=0)
        centers: int = option(10, "Centers of a class in SoftTriple.", least=1, most=2**16)
        center_scale: float = option(20.0, "Sharpness of SoftTriple.", above=0)
        center_gamma: float = option(0.1, "Temperature among the centers of a class in SoftTriple.", above=0)
        center_margin: float = option(0.01, "Margin of SoftTriple.", least=0)
        center_tau: float = option(0.2, "Weight of the distances of a class' centers in SoftTriple.", least=0)
        contrast_temperature: float = option(0.1, "Temperature of the supervised contrastive loss.", above=0)

        def __post_init__(self) -> None:
            super().__post_init__()
            if self.memory and not LOSSES[self.loss].references(self):
                raise UserError(
                    f"--dml.memory={self.memory} needs a loss that takes references, which {self.loss} does not; "
                    "choose triplet, multi_similarity, supcon, or angular with --dml.angular_form=all_pairs."
                )
            if not self.map_names:
                raise UserError(f"--dml.maps={self.maps} names no map; give layers of the image tower, or auto.")

        @property
        def map_names(self) -> tuple[str, ...]:
            """The names in `maps`."""
            return tuple(name.strip() for name in self.maps.split(",") if name.strip())

    def __init__(self, towers: Towers, params: Params, num_labels: int):
        super().__init__(towers, params, num_labels)
        dim = towers.embedding_dim
        self._loss = LOSSES[params.loss]
        if self._loss.proxies:
            self.add_head("proxies", _proxies(self._loss.proxies(params) * num_labels), None, dim)
        if params.memory:
            self.add_head("memory", EmbeddingQueue(params.memory, dim, name="memory"), None, dim)
        self._epoch, self._warned = 0, False
        self._adversary = _ADVERSARIES.get(params.extension, "")
        if not self._adversary:
            return
        features = towers.sides["image"].width("features")
        self.add_head("classifier", _classifier(features, num_labels, params), None, features)
        if self._adversary == "adaptive":
            self.add_head("reversal", GradientReversal(name="reversal", dtype="float32"), None, features)
            self.add_head("class_loss", EpochMean(math.log(num_labels), name="class_loss"))
            self._set_lambda()

    @classmethod
    def encoder_options(cls, params: Params) -> dict[str, dict[str, Any]]:
        """Of the image encoder its feature, which is made of maps in all extensions with GDFL."""
        if params.extension in _FUSED:
            return {"image": {"fusion": Fusion(params.map_names, params.attention, params.include_last)}}
        return {"image": {"fusion": Fusion(())}} if params.extension in _ADVERSARIES else {}

    def start_step(self, clock: Clock) -> None:
        """Sets lambda at the start of an epoch; within one it stands in the checkpoint."""
        self._epoch = clock.epoch
        if self._adversary == "adaptive" and clock.begins_epoch:
            self.heads["class_loss"].roll()
            self._set_lambda()

    def warning(self, step: int, numbers: Mapping[str, float]) -> str:
        """Says once that the queue is longer than an epoch: its loss is 0 until it holds images twice."""
        if not self.params.memory or self._warned or self._epoch < 1 or bool(self.heads["memory"].full):
            return ""
        self._warned = True
        return (
            f"--dml.memory={self.params.memory} is more than an epoch has images: until it is full its loss is 0, and "
            "then an image meets itself; give less."
        )

    def _set_lambda(self) -> None:
        params, class_loss = self.params, self.heads["class_loss"].mean
        factor = class_adversary.adaptive_adversary_factor(
            class_loss, threshold=params.threshold, scale=params.lambda_0
        )
        self.heads["reversal"].factor.assign(factor)

    def phases(self) -> tuple[Phase, ...]:
        """The classifier, if there is one, and then all else."""
        if not self._adversary:
            return (Phase("embedding", self.losses),)
        return (
            Phase("classifier", self._classify, _CLASSIFIER, detached=True),
            Phase("embedding", self.losses, f"(?!{_CLASSIFIER}).*"),
        )

    def losses(self, outputs: Outputs, batch: Batch) -> Losses:
        """The metric loss and what the extension adds to it; `adversary` is l_c behind the gradient reversal."""
        x, labels, params = outputs["image"], batch["label"], self.params
        kernel = self.heads["proxies"].kernel if self._loss.proxies else None
        terms = {params.loss: self._loss.value(params, x, labels, kernel)}
        if params.memory:
            terms["memory"] = self._beyond_the_batch(x, labels)
        if params.extension == "energy":
            # Of the vectors that the loss sees: of unit vectors lengths alone would shrink.
            seen = unit(x) if self._loss.of_units(params) else x
            terms["energy"] = params.energy_weight * energy_confusion(seen, labels)
        if self._adversary == "soft":
            logits = self._logits(outputs["image/features"])
            terms["adversary"] = class_adversary.soft_adversary(
                logits, labels, smoothing=params.smoothing, weight=params.lambda_0
            )
        if self._adversary == "adaptive":
            logits = self._logits(self.heads["reversal"](outputs["image/features"]))
            terms["adversary"] = class_adversary.adaptive_adversary(logits, labels)
        return terms

    def _beyond_the_batch(self, x: Tensor, labels: Tensor) -> Tensor:
        """The metric loss against the embeddings of former batches, which this batch then joins."""
        queue, ops = self.heads["memory"], keras.ops
        kept = (ops.convert_to_tensor(queue.vectors), ops.cast(queue.labels, labels.dtype))
        loss = self.params.memory_weight * self._loss.value(self.params, x, labels, None, *kept)
        loss = ops.where(queue.full, loss, 0.0)
        queue(x, labels)
        return loss

    def gauges(self, outputs: Outputs, batch: Batch) -> Losses:
        """Lambda of the adaptive adversary: above 0 the extractor works against the classifier."""
        if self._adversary != "adaptive":
            return {}
        return {"adversary/lambda": keras.ops.convert_to_tensor(self.heads["reversal"].factor)}

    def _classify(self, outputs: Outputs, batch: Batch) -> Losses:
        """What the classifier minimises on features that it does not change."""
        logits = self._logits(keras.ops.stop_gradient(outputs["image/features"]))
        if self._adversary == "soft":
            soft = class_adversary.soft_adversary(logits, batch["label"], smoothing=self.params.smoothing, weight=1.0)
            return {"classifier": soft}
        return {"classifier": self.heads["class_loss"](class_adversary.adaptive_adversary(logits, batch["label"]))}

    def _logits(self, features: Tensor) -> Tensor:
        return self.heads["classifier"](features, training=True)


@dataclasses.dataclass(frozen=True)
class MetricLoss:
    """A value of `--dml.loss`.

    Attributes:
        value: (params, embeddings (n, d), labels (n,), kernel (d, P) of the proxies or None) -> scalar; where it takes
            references, also with their embeddings (m, d) and labels (m,).
        proxies: how many proxies a class has; None where the loss has none.
        of_units: whether it sees unit vectors.
        references: whether it takes references.
    """

    value: Callable[..., Tensor]
    proxies: Callable[[Any], int] | None = None
    of_units: Callable[[Any], bool] = lambda params: True
    references: Callable[[Any], bool] = lambda params: False


def _triplet(params: Dml.Params, x: Tensor, labels: Tensor, kernel: Tensor, *references: Tensor) -> Tensor:
    return triplet_semihard_all(x, labels, *references, margin=params.triplet_margin)


def _angular(params: Dml.Params, x: Tensor, labels: Tensor, kernel: Tensor, *references: Tensor) -> Tensor:
    if _all_pairs(params):
        return angular_all_pairs(x, labels, *references, angle=params.angle)
    anchors, positives = (keras.ops.take(x, places, axis=0) for places in one_pair_a_class(labels))
    return n_pair_angular(anchors, positives, angle=params.angle)


def _proxy_nca(params: Dml.Params, x: Tensor, labels: Tensor, kernel: Tensor) -> Tensor:
    proxies = keras.ops.transpose(kernel)
    return proxy_nca(
        x,
        labels,
        proxies,
        scale=params.embedding_length,
        proxy_scale=params.proxy_length,
        smoothing=params.proxy_smoothing,
    )


def _proxy_anchor(params: Dml.Params, x: Tensor, labels: Tensor, kernel: Tensor) -> Tensor:
    proxies = keras.ops.transpose(kernel)
    return proxy_anchor(x, labels, proxies, margin=params.anchor_margin, scale=params.anchor_scale)


def _multi_similarity(params: Dml.Params, x: Tensor, labels: Tensor, kernel: Tensor, *references: Tensor) -> Tensor:
    return multi_similarity(
        x,
        labels,
        *references,
        alpha=params.similarity_alpha,
        beta=params.similarity_beta,
        base=params.similarity_base,
        epsilon=params.similarity_epsilon,
    )


def _norm_softmax(params: Dml.Params, x: Tensor, labels: Tensor, kernel: Tensor) -> Tensor:
    """Zhai and Wu, "Classification is a Strong Baseline for Deep Metric Learning", BMVC 2019: of unit vectors."""
    return norm_softmax(unit(x), labels, kernel, scale=1.0 / params.softmax_temperature)


def _soft_triple(params: Dml.Params, x: Tensor, labels: Tensor, kernel: Tensor) -> Tensor:
    centers = keras.ops.reshape(keras.ops.transpose(kernel), (-1, params.centers, kernel.shape[0]))
    return soft_triple(
        x,
        labels,
        centers,
        scale=params.center_scale,
        gamma=params.center_gamma,
        margin=params.center_margin,
        tau=params.center_tau,
    )


def _supcon(params: Dml.Params, x: Tensor, labels: Tensor, kernel: Tensor, *references: Tensor) -> Tensor:
    return supervised_contrastive(x, labels, *references, temperature=params.contrast_temperature)


def _one_proxy(params: Dml.Params) -> int:
    return 1


def _all_pairs(params: Dml.Params) -> bool:
    return bool(params.angular_form == "all_pairs")


def _always(params: Dml.Params) -> bool:
    return True


LOSSES = {
    "triplet": MetricLoss(_triplet, references=_always),
    "angular": MetricLoss(_angular, of_units=_all_pairs, references=_all_pairs),
    "proxy_nca": MetricLoss(_proxy_nca, _one_proxy),
    "proxy_anchor": MetricLoss(_proxy_anchor, _one_proxy),
    "multi_similarity": MetricLoss(_multi_similarity, references=_always),
    "norm_softmax": MetricLoss(_norm_softmax, _one_proxy),
    "soft_triple": MetricLoss(_soft_triple, lambda params: int(params.centers)),
    "supcon": MetricLoss(_supcon, references=_always),
}


def _proxies(number: int) -> keras.layers.Dense:
    """Vectors of a learned kernel (d, number), drawn as in the releases of Proxy-NCA: N(0, 1)/8."""
    drawn = keras.initializers.RandomNormal(stddev=1 / 8)
    return keras.layers.Dense(number, use_bias=False, kernel_initializer=drawn, dtype="float32", name="proxies")


def _classifier(features: int, classes: int, params: Dml.Params) -> keras.Model:
    """Features (n, g) -> logits (n, C)."""
    inputs = keras.Input((features,), name="features")
    x = keras.layers.Dense(params.classifier_hidden, activation="relu", dtype="float32", name="hidden")(inputs)
    if params.classifier_dropout:
        # Drawn from what `keras.utils.set_random_seed` has set, as initial weights are.
        seed = random.getrandbits(31)
        x = Dropout(params.classifier_dropout, seed=seed, dtype="float32", name="dropout")(x)
    logits = keras.layers.Dense(classes, dtype="float32", name="logits")(x)
    return keras.Model(inputs, logits, name="classifier")


METHOD = Dml
