"""TIMAM: identification, CMPM, and a discriminator of modalities that the two towers deceive."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import keras

from xmkeras.errors import UserError
from xmkeras.layers import GradientReversal
from xmkeras.layers.modality_discriminator import ModalityDiscriminator
from xmkeras.losses import classification, modality
from xmkeras.losses.cmpm import cmpm_terms
from xmkeras.losses.smoothing import FLIP_SCOPES, random_modality_targets
from xmkeras.method import Batch, Losses, Method, Outputs, Phase, Tensor
from xmkeras.models.encoder import Towers
from xmkeras.options import Options, option

ADVERSARIES = ("swap", "grl", "minimax", "none")
INPUTS = ("raw", "normalised")
_JUDGES = "heads/(discriminator|targets)/.*"
_FOOLED, _SEES_ALL = 1.0, 99.0  # per cent of right answers


class Timam(Method):
    """Sarafianos, Xu and Kakadiaris, "Adversarial Representation Learning for Text-to-Image Matching", ICCV 2019.

    Paper 004: norm-softmax identification of images and of texts, CMPM both ways, and a discriminator. The
    discriminator minimises L_D on embeddings that it cannot change, with smoothed and flipped targets; then the
    towers minimise the sum of the rest and of L_D with its targets exchanged. (Algorithm 1 of the paper prints one
    minimisation of the sum of all, in which the towers would help the discriminator.) The paper's ablations are
    `--timam.adversarial=none`, `--timam.identification_weight=0` and `--text_tower=bilstm`.
    """

    @dataclasses.dataclass(frozen=True)
    class Params(Options, prefix="timam."):
        """The options of TIMAM, flags `--timam.<field>`; what the paper leaves open is said in the help.

        Raises:
            UserError: a value outside its range, or no term left.
        """

        identification_weight: float = option(1.0, "Factor of both identification losses; 0 leaves them out.", least=0)
        matching_weight: float = option(1.0, "Factor of both CMPM terms; 0 leaves them out.", least=0)
        adversary_weight: float = option(1.0, "Factor of the towers' loss against the discriminator.", least=0)
        share: bool = option(True, "Images and texts are identified by the same class weights (open).")
        scale: float = option(1.0, "Length of the class weights.", above=0)
        epsilon: float = option(1e-8, "Added to q in CMPM's logarithm: how much an unmatched pair costs.", above=0)
        adversarial: str = option(
            "swap",
            "What the towers minimise against the discriminator: its loss with exchanged targets, its gradient "
            "reversed in a joint step (both learn with hard targets), or the negative of its loss; none trains "
            "without it (open).",
            ADVERSARIES,
        )
        d_input: str = option("raw", "The discriminator sees embeddings as they are, or of length 1 (open).", INPUTS)
        d_units: int = option(256, "Hidden units of the discriminator.", least=1, most=2**16)
        d_every: int = option(1, "Steps of the towers for one of the discriminator.", least=1)
        image_targets: str = option("0.8,1.2", "Range of the discriminator's random targets for images.")
        text_targets: str = option("0,0.3", "Range of the discriminator's random targets for texts.")
        flip: float = option(0.2, "Probability that the two targets of a pair are exchanged.", least=0, most=1)
        flip_scope: str = option("sample", "Targets are exchanged for each pair on its own, or for all.", FLIP_SCOPES)
        stuck_steps: int = option(200, "Steps at 0 or 100 % right answers after which a warning says so.", least=1)

        def __post_init__(self) -> None:
            super().__post_init__()
            if not (self.identification_weight or self.matching_weight):
                raise UserError(
                    "--timam.identification_weight=0 with --timam.matching_weight=0 leaves nothing that brings images "
                    "to their texts; give one of them a weight."
                )
            for name in ("image_targets", "text_targets"):
                _range(getattr(self, name), name)

    def __init__(self, towers: Towers, params: Params, num_labels: int):
        super().__init__(towers, params, num_labels)
        dim = towers.embedding_dim
        if params.identification_weight:
            for name in ("identity",) if params.share else ("image_identity", "text_identity"):
                self.add_head(name, keras.layers.Dense(num_labels, name=name, dtype="float32"), None, dim)
        self._adversarial = params.adversarial != "none" and params.adversary_weight > 0
        if not self._adversarial:
            return
        self.add_head("discriminator", ModalityDiscriminator(params.d_units, name="discriminator"), None, dim)
        if params.adversarial == "grl":
            reversal = GradientReversal(params.adversary_weight, name="reversal", dtype="float32")
            self.add_head("reversal", reversal, None, dim)
        else:
            self.add_head("targets", _Targets(params, name="targets"), None)
        self._stuck_since: int | None = None
        self._stuck_at = 50.0
        self._warned = False

    def phases(self) -> tuple[Phase, ...]:
        """The discriminator, then the towers and class weights; all at once behind a gradient reversal."""
        if not self._adversarial or self.params.adversarial == "grl":
            return (Phase("joint", self.losses),)
        return (
            Phase("discriminator", self._judge, _JUDGES, every=self.params.d_every, detached=True),
            Phase("towers", self.losses, f"(?!{_JUDGES}).*"),
        )

    def losses(self, outputs: Outputs, batch: Batch) -> Losses:
        """The terms of the towers, float32 scalars times their weights; `adversary` is to deceive the discriminator."""
        image, text, labels = outputs["image"], outputs["text"], batch["label"]
        params, terms = self.params, Losses()
        if params.identification_weight:
            for side, x in (("image", image), ("text", text)):
                head = self.heads["identity" if params.share else f"{side}_identity"]
                loss = classification.norm_softmax(x, labels, head.kernel, head.bias, params.scale)
                terms[f"identity_{side}"] = params.identification_weight * loss
        if params.matching_weight:
            image_to_text, text_to_image = cmpm_terms(image, text, labels, epsilon=params.epsilon)
            terms["cmpm_i2t"] = params.matching_weight * image_to_text
            terms["cmpm_t2i"] = params.matching_weight * text_to_image
        if self._adversarial:
            terms["adversary"] = self._deceive(image, text)
        return terms

    def _deceive(self, image: Tensor, text: Tensor) -> Tensor:
        if self.params.adversarial == "grl":
            # The weight lies in the reversal, so that the discriminator keeps the whole of its own gradient.
            reverse = self.heads["reversal"]
            return modality.modality_discriminator(*self._logits(reverse(image), reverse(text), update=True))
        loss = modality.modality_generator(*self._logits(image, text), form=self.params.adversarial)
        return self.params.adversary_weight * loss

    def _judge(self, outputs: Outputs, batch: Batch) -> Losses:
        """L_D of embeddings that it does not change, with smoothed and flipped targets."""
        stop = keras.ops.stop_gradient
        logits = self._logits(stop(outputs["image"]), stop(outputs["text"]), update=True)
        of_images, of_texts = self.heads["targets"](batch["label"])
        loss = modality.modality_discriminator(*logits, image_targets=of_images, text_targets=of_texts)
        return {"discriminator": loss}

    def _logits(self, image: Tensor, text: Tensor, update: bool = False) -> tuple[Tensor, Tensor]:
        """Each modality in a mini-batch of its own, normalised by the statistics of that."""
        if self.params.d_input == "normalised":
            image, text = keras.ops.normalize(image, axis=-1), keras.ops.normalize(text, axis=-1)
        judge = self.heads["discriminator"]
        return judge(image, update_statistics=update), judge(text, update_statistics=update)

    def gauges(self, outputs: Outputs, batch: Batch) -> Losses:
        """How far apart the modalities are, and how often the discriminator is right, in per cent."""
        ops = keras.ops
        image, text = outputs["image"], outputs["text"]
        gap = ops.norm(ops.mean(image, axis=0) - ops.mean(text, axis=0))
        of_units = ops.mean(ops.normalize(image, axis=-1), axis=0) - ops.mean(ops.normalize(text, axis=-1), axis=0)
        numbers = {"gap/mean_distance": gap, "gap/mean_distance_of_units": ops.norm(of_units)}
        if self._adversarial:
            of_images, of_texts = (ops.cast(logits > 0, "float32") for logits in self._logits(image, text))
            images, texts = 100.0 * ops.mean(of_images), 100.0 * (1.0 - ops.mean(of_texts))
            numbers |= {"discriminator/accuracy_images": images, "discriminator/accuracy_texts": texts}
            numbers["discriminator/accuracy"] = 0.5 * (images + texts)
        return numbers

    def warning(self, step: int, numbers: Mapping[str, float]) -> str:
        """Says once that the discriminator has been right or wrong in (nearly) all cases for `stuck_steps` steps."""
        accuracy = numbers.get("discriminator/accuracy", 50.0)
        if _FOOLED < accuracy < _SEES_ALL:
            self._stuck_since, self._warned = None, False
            return ""
        if self._stuck_since is None or (accuracy > 50) != (self._stuck_at > 50):
            self._stuck_since, self._warned = step, False
        self._stuck_at = accuracy
        if self._warned or step - self._stuck_since < self.params.stuck_steps:
            return ""
        self._warned = True
        advice = (
            "it wins too easily: lower its rate, or try --timam.d_input=normalised"
            if accuracy > 50
            else "the towers deceive it too easily: raise its rate, or lower --timam.adversary_weight"
        )
        return (
            f"The discriminator has told images from texts in {accuracy:.0f} % of all cases since step "
            f"{self._stuck_since:,}, so that there is little to learn from it; {advice}."
        )


class _Targets(keras.layers.Layer):
    """Draws the discriminator's targets, two of (n,) for labels (n,); its random state belongs to the checkpoint."""

    def __init__(self, params: Timam.Params, **kwargs: Any):
        super().__init__(**kwargs)
        self._options: dict[str, Any] = {
            "visual": _range(params.image_targets, "image_targets"),
            "textual": _range(params.text_targets, "text_targets"),
            "flip": params.flip,
            "flip_scope": params.flip_scope,
        }
        self.seed_generator = keras.random.SeedGenerator(0, name=self.name)
        self.built = True

    def call(self, labels: Tensor) -> tuple[Tensor, Tensor]:
        return random_modality_targets(keras.ops.shape(labels)[0], seed=self.seed_generator, **self._options)


def _range(text: str, name: str) -> tuple[float, float]:
    try:
        low, high = (float(part) for part in text.split(","))
    except ValueError:
        low, high = 1.0, 0.0
    if not low <= high:
        raise UserError(f"--timam.{name}={text} is no range; write two numbers, the lower first, as in 0.8,1.2.")
    return low, high


METHOD = Timam
