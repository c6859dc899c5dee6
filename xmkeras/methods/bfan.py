"""BFAN: focal attention of words and regions, both ways."""

from __future__ import annotations

import dataclasses

from xmkeras.losses.cross_attention import FOCALS, attention_weights, bfan
from xmkeras.method import Outputs, Tensor
from xmkeras.methods._region_words import MatchingParams, PairScored, both_sides, words_option
from xmkeras.options import option


class Bfan(PairScored):
    """Liu, Mao, Liu, Zhang, Wang and Zhang, "Focus Your Attention: A Bidirectional Focal Attention Network for
    Image-Text Matching", ACM Multimedia 2019.

    As SCAN both ways, with attention on those regions, or words, alone that get more of it than the others; the score
    is the sum of both directions' means, in [-2, 2]. The paper's full model is the ensemble of "equal" and "prob". With
    `--bfan.addr` ADDR trains on top of it.
    """

    @dataclasses.dataclass(frozen=True)
    class Params(MatchingParams, prefix="bfan."):
        """The options of BFAN, flags `--bfan.<field>`.

        Raises:
            UserError: a value outside its range or choices.
        """

        focal: str = option("equal", "Which are attended to: all count alike, or each by its own share.", FOCALS[1:])
        smoothing: float = option(20.0, "lambda of the attention.", above=0, most=40)
        words: str = words_option()

    def scores(self, outputs: Outputs, *, pairs: bool = False) -> Tensor:
        """The sum of both directions."""
        return bfan(*both_sides(outputs), focal=self.params.focal, smoothing=self.params.smoothing, pairs=pairs)

    @property
    def attends(self) -> bool:
        """Always."""
        return True

    def attention(self, outputs: Outputs) -> Tensor:
        """The shares (n, t, r) of the regions that each word of row i looks at, see `attention_weights`."""
        return attention_weights(*both_sides(outputs), smoothing=self.params.smoothing, focal=self.params.focal)


METHOD = Bfan
