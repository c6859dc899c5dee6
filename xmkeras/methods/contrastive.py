"""The contrastive baselines that everyone compares with: the softmax of CLIP and the sigmoid of SigLIP."""

from __future__ import annotations

import dataclasses

import keras

from xmkeras.layers import LearntScalar
from xmkeras.losses.batch_scores import score_sigmoid, score_softmax
from xmkeras.losses.similarity import unit
from xmkeras.method import Batch, Losses, Method, Outputs, Tensor
from xmkeras.models.encoder import Towers
from xmkeras.options import Options, option

LOSSES = ("softmax", "sigmoid")
RIGHT = ("image", "label")


class Contrastive(Method):
    """Radford et al., "Learning Transferable Visual Models From Natural Language Supervision", ICML 2021, and Zhai et
    al., "Sigmoid Loss for Language Image Pre-Training", ICCV 2023.

    Cosines of a batch divided by a learnt temperature, in a softmax both ways (InfoNCE), or each pair for itself in a
    sigmoid with a learnt bias. Other captions of an image in the batch are right answers too.
    """

    @dataclasses.dataclass(frozen=True)
    class Params(Options, prefix="contrastive."):
        """The options, flags `--contrastive.<field>`.

        Raises:
            UserError: a value outside its range or choices.
        """

        loss: str = option("softmax", "softmax: InfoNCE both ways; sigmoid: each pair for itself.", LOSSES)
        right: str = option("image", "A text is right for its own image, or for all of its label.", RIGHT)
        temperature: float = option(0.07, "Divides the cosines at first; the sigmoid's paper begins at 0.1.", above=0)
        learn_temperature: bool = option(True, "The temperature is learnt.")
        least_temperature: float = option(0.01, "The temperature falls no further.", above=0)
        bias: float = option(-10.0, "Of the sigmoid at first: nearly all pairs are wrong.", least=-1000, most=1000)

    def __init__(self, towers: Towers, params: Params, num_labels: int):
        super().__init__(towers, params, num_labels)
        if params.learn_temperature:
            scalar = LearntScalar(
                params.temperature, positive=True, least=params.least_temperature, name="temperature"
            )
            self.heads["temperature"] = scalar
        if params.loss == "sigmoid":
            self.heads["bias"] = LearntScalar(params.bias, name="bias")

    def losses(self, outputs: Outputs, batch: Batch) -> Losses:
        """The one loss, a float32 scalar."""
        cosines = keras.ops.matmul(unit(outputs["image"]), keras.ops.transpose(unit(outputs["text"])))
        right, temperature = batch["image_id" if self.params.right == "image" else "label"], self._temperature()
        if self.params.loss == "softmax":
            return {"softmax": score_softmax(cosines, right, temperature=temperature)}
        bias = self.heads["bias"](None)
        return {"sigmoid": score_sigmoid(cosines, right, temperature=temperature, bias=bias)}

    def gauges(self, outputs: Outputs, batch: Batch) -> Losses:
        """The numbers that are learnt beside the towers."""
        return {f"learnt/{name}": head(None) for name, head in self.heads.items()}

    def _temperature(self) -> Tensor | float:
        return self.heads["temperature"](None) if "temperature" in self.heads else self.params.temperature


METHOD = Contrastive
