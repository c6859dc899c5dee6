"""CMPM and CMPC: cross-modal projection matching and classification."""

from __future__ import annotations

import dataclasses

import keras

from xmkeras.errors import UserError
from xmkeras.layers import UnitColumnDense
from xmkeras.losses import bi_rank, classification, histogram, n_pair
from xmkeras.losses.cmpm import DIVERGENCES, cmpm_terms
from xmkeras.method import Batch, Losses, Method, Outputs, Tensor
from xmkeras.models.encoder import Towers
from xmkeras.options import Options, option

MATCHING_LOSSES = ("cmpm", "bi_rank", "n_pair", "histogram")
CLASSIFIERS = ("none", "softmax", "norm_softmax", "projection_softmax", "cmpc")


class Cmpm(Method):
    """Zhang and Lu, "Deep Cross-Modal Projection Learning for Image-Text Matching", ECCV 2018 (paper 003).

    CMPM (equations 1 to 5) with, on request, a classifier on the labels: CMPC (equations 6 to 10) or one of
    the rows of the paper's Table 6. The paper's full model is `--cmpm.classifier=cmpc` (equation 11); the
    losses that its Table 5 compares are `--cmpm.loss=bi_rank|n_pair|histogram` and, for KL(q||p),
    `--cmpm.divergence=qp`. An image and a text match when their labels are
    equal, so labels may be classes, identities, or one class an image. The classifier is a head: it is no
    part of the inference towers.
    """

    @dataclasses.dataclass(frozen=True)
    class Params(Options, prefix="cmpm."):
        """The options of CMPM and CMPC, flags `--cmpm.<field>`.

        Raises:
            UserError: a value outside its range or choices.
        """

        matching: bool = option(
            True, "Train with a matching loss; switch it off for the classifier-only rows of Table 6."
        )
        loss: str = option("cmpm", "Matching loss; the others are what Table 5 compares with CMPM.", MATCHING_LOSSES)
        divergence: str = option("pq", "KL(p||q), as published, or the KL(q||p) ablation.", DIVERGENCES)
        epsilon: float = option(1e-8, "Added to q in the logarithm: how much an unmatched pair costs.", above=0)
        margin: float = option(0.2, "By how much bi_rank wants a match above what does not match.", above=0)
        bins: int = option(100, "Bins of the cosine in histogram.", least=1)
        matching_weight: float = option(1.0, "Factor of the matching loss.", least=0)
        classifier: str = option("none", "Classification loss beside CMPM; cmpc is the paper's.", CLASSIFIERS)
        classifier_weight: float = option(1.0, "Factor of the classification loss.", least=0)
        scale: float = option(1.0, "Length of the class weights in norm_softmax and cmpc.", above=0)

        def __post_init__(self) -> None:
            super().__post_init__()
            if not self.matching and self.classifier == "none":
                raise UserError(
                    "--cmpm.matching=false with --cmpm.classifier=none leaves no loss; choose a classifier."
                )

    def __init__(self, towers: Towers, params: Params, num_labels: int):
        super().__init__(towers, params, num_labels)
        if params.classifier == "none":
            return
        free = params.classifier in ("softmax", "projection_softmax")
        head = (
            keras.layers.Dense(num_labels, name="classifier")
            if free
            else (UnitColumnDense(num_labels, scale=params.scale, name="classifier"))
        )
        self.add_head("classifier", head, None, towers.embedding_dim)

    def losses(self, outputs: Outputs, batch: Batch) -> Losses:
        """The terms of matching and of the classifier, each a float32 scalar times its weight."""
        image, text, labels = outputs["image"], outputs["text"], batch["label"]
        terms: Losses = {}
        if self.params.matching:
            matching = self._matching(image, text, labels)
            terms = {name: self.params.matching_weight * loss for name, loss in matching.items()}
        if self.params.classifier != "none":
            loss = self._classification(image, text, labels)
            terms[self.params.classifier] = self.params.classifier_weight * loss
        return terms

    def _matching(self, image: Tensor, text: Tensor, labels: Tensor) -> Losses:
        """CMPM's two terms, or the one of a loss that Table 5 compares with it; equal labels are no negatives."""
        params = self.params
        if params.loss == "bi_rank":
            return {"bi_rank": bi_rank(image, text, labels, margin=params.margin, mask="label")}
        if params.loss == "n_pair":
            return {"n_pair": n_pair(image, text, labels, bidirectional=True)}
        if params.loss == "histogram":
            return {"histogram": histogram(image, labels, text, labels, bins=params.bins)}
        image_to_text, text_to_image = cmpm_terms(
            image, text, labels, epsilon=params.epsilon, divergence=params.divergence
        )
        return {"cmpm_i2t": image_to_text, "cmpm_t2i": text_to_image}

    def _classification(self, image: Tensor, text: Tensor, labels: Tensor) -> Tensor:
        """The chosen classification loss of both modalities, with the same class weights."""
        head, scale = self.heads["classifier"], self.params.scale
        if self.params.classifier == "cmpc":
            return classification.cmpc(image, text, labels, head.kernel, scale=scale)
        if self.params.classifier == "projection_softmax":
            return classification.projection_softmax(image, text, labels, head.kernel, head.bias)
        if self.params.classifier == "norm_softmax":
            of_image = classification.norm_softmax(image, labels, head.kernel, scale=scale)
            return of_image + classification.norm_softmax(text, labels, head.kernel, scale=scale)
        of_image = classification.softmax_loss(image, labels, head.kernel, head.bias)
        return of_image + classification.softmax_loss(text, labels, head.kernel, head.bias)


METHOD = Cmpm
