"""DAML: deep adversarial metric learning of pairs, with a modality head behind a gradient reversal."""

from __future__ import annotations

import dataclasses

import keras

from xmkeras.errors import UserError
from xmkeras.layers import GradientReversal
from xmkeras.losses import correlation, modality
from xmkeras.method import Batch, Clock, Losses, Method, Outputs, Phase, Similarity, Tensor
from xmkeras.models.encoder import Towers
from xmkeras.models.posteriors import posterior_towers
from xmkeras.options import Options, option

SCHEDULES = ("dann", "constant")
DISTANCES = ("euclidean", "cosine")
RANKINGS = ("embedding", "posterior")
_HEAD = "heads/modality/.*"


class Daml(Method):
    """Xu et al., "Deep adversarial metric learning for cross-modal retrieval", World Wide Web 2019 (paper 001).

    The projectors and the label head minimise alpha L_dis + beta L_cor - sigma lambda L_adv, the modality head
    minimises L_adv every `head_every` steps (Algorithm 1); lambda lies in the gradient reversal alone, so that
    sigma times lambda is the weight of the reversed gradient. A term of weight 0 is left out with its head:
    `--daml.sigma=0` is the paper's DCML, `--daml.beta=0` its DAML with L_dis only and `--daml.alpha=0` that with
    L_cor only (Table 4). L_cor is divided by the batch, as Algorithm 1 does. Retrieval compares the embeddings, as
    the paper says; `--daml.ranking=posterior` compares what the label head says of them (`models.posteriors`).
    """

    @dataclasses.dataclass(frozen=True)
    class Params(Options, prefix="daml."):
        """The options of DAML, flags `--daml.<field>`; what the paper leaves open is said in the help.

        Raises:
            UserError: a value outside its range, or no term left.
        """

        alpha: float = option(0.01, "Weight of L_dis, the cross-entropy of the shared label head.", least=0)
        beta: float = option(0.1, "Weight of L_cor, the coupled correlation of all pairs of the batch.", least=0)
        sigma: float = option(1.0, "Weight of the adversary L_adv; 0 trains without it (DCML).", least=0)
        schedule: str = option("dann", "Factor lambda over the run: 2/(1+exp(-10p))-1, or constant (open).", SCHEDULES)
        factor: float = option(1.0, "The lambda of a constant schedule, and what dann rises to.", least=0)
        head_every: int = option(5, "Steps of the projectors for one of the modality head (k, open).", least=1)
        xi: float = option(3.0, "Threshold of squared distances in L_cor, more than 1 (open).", above=1)
        rho: float = option(10.0, "Sharpness of the generalised logistic in L_cor (open).", above=0)
        pair_term: str = option("norms", "How L_cor draws each pair together.", correlation.PAIR_TERMS)
        modality_hidden: str = option("100,50", "Hidden layers of the modality head.")
        distance: str = option("euclidean", "By what embeddings are ranked (open).", DISTANCES)
        ranking: str = option(
            "embedding",
            "What is ranked, measured and exported: the embeddings, or the label head's class probabilities, by how "
            "likely two items are of one class (not the paper's).",
            RANKINGS,
        )

        def __post_init__(self) -> None:
            super().__post_init__()
            if not (self.alpha or self.beta):
                raise UserError("--daml.alpha=0 with --daml.beta=0 leaves nothing to learn; give one of them a weight.")
            if self.ranking == "posterior" and not self.alpha:
                raise UserError("--daml.ranking=posterior needs the label head, which --daml.alpha=0 leaves out.")
            _layer_sizes(self.modality_hidden)

    def __init__(self, towers: Towers, params: Params, num_labels: int):
        super().__init__(towers, params, num_labels)
        dim = towers.embedding_dim
        if params.alpha:
            self.add_head("label", keras.layers.Dense(num_labels, name="label", dtype="float32"), None, dim)
        if params.sigma:
            self.add_head("reversal", GradientReversal(name="reversal", dtype="float32"), None, dim)
            self.add_head("modality", _modality_head(dim, _layer_sizes(params.modality_hidden)), None, dim)
            self._set_weight(0.0)
        ranks_posteriors = params.ranking == "posterior"
        self._ranked = posterior_towers(towers, self.heads["label"]) if ranks_posteriors else towers

    @property
    def retrieval_towers(self) -> Towers:
        """The towers, or those with the label head after them."""
        return self._ranked

    @property
    def similarity(self) -> Similarity:
        """Euclidean by default, as in the code that the paper's tables compare with; of posteriors the cosine."""
        return "cosine" if self.params.distance == "cosine" or self.params.ranking == "posterior" else "euclidean"

    def start_step(self, clock: Clock) -> None:
        """Sets sigma times lambda of the share of the run that is done."""
        self._set_weight(clock.progress)

    def _set_weight(self, progress: float) -> None:
        if "reversal" in self.heads:
            dann = self.params.schedule == "dann"
            share = float(keras.ops.convert_to_numpy(modality.dann_factor(progress))) if dann else 1.0
            self.heads["reversal"].factor.assign(self.params.sigma * self.params.factor * share)

    def losses(self, outputs: Outputs, batch: Batch) -> Losses:
        """The terms of the projectors, float32 scalars; `adversary` is L_adv behind the gradient reversal."""
        image, text, labels = outputs["image"], outputs["text"], batch["label"]
        params, terms = self.params, Losses()
        if params.alpha:
            head = self.heads["label"]
            dis = correlation.label_discrimination(head(image), head(text), labels)
            terms["discrimination"] = params.alpha * dis
        if params.beta:
            cor = correlation.coupled_correlation(
                image, text, labels, threshold=params.xi, sharpness=params.rho, pair_term=params.pair_term
            )
            terms["correlation"] = params.beta * cor
        if params.sigma:
            reverse = self.heads["reversal"]
            terms["adversary"] = self._modality_loss(reverse(image), reverse(text))
        return terms

    def phases(self) -> tuple[Phase, ...]:
        """The projectors with the label head in each step, the modality head in every `head_every`-th."""
        if not self.params.sigma:
            return (Phase("projectors", self.losses),)
        return (
            Phase("projectors", self.losses, f"(?!{_HEAD}).*"),
            Phase("modality", self._head_losses, _HEAD, every=self.params.head_every),
        )

    def _head_losses(self, outputs: Outputs, batch: Batch) -> Losses:
        stop = keras.ops.stop_gradient
        return {"modality": self._modality_loss(stop(outputs["image"]), stop(outputs["text"]))}

    def _modality_loss(self, image: Tensor, text: Tensor) -> Tensor:
        head = self.heads["modality"]
        return modality.modality_two_way(head(image), head(text))


def _modality_head(dim: int, hidden: tuple[int, ...]) -> keras.Model:
    """Embeddings (n, d) -> two logits, the second for images: ReLU layers, since a linear stack is one layer."""
    inputs = keras.Input((dim,), name="embedding")
    x = inputs
    for number, units in enumerate(hidden, 1):
        x = keras.layers.Dense(units, activation="relu", dtype="float32", name=f"hidden_{number}")(x)
    return keras.Model(inputs, keras.layers.Dense(2, dtype="float32", name="logits")(x), name="modality")


def _layer_sizes(text: str) -> tuple[int, ...]:
    parts = [part.strip() for part in text.split(",") if part.strip() not in ("", "none")]
    if not all(part.isdigit() and int(part) > 0 for part in parts):
        raise UserError(f"--daml.modality_hidden={text} is no list of layer sizes; write them as in 100,50.")
    return tuple(int(part) for part in parts)


METHOD = Daml
