"""SCAN: stacked cross attention of words and regions."""

from __future__ import annotations

import dataclasses
from typing import Any

from xmkeras.losses.cross_attention import (
    ACTIVATIONS,
    DIRECTIONS,
    POOLINGS,
    attention_weights,
    cross_attention,
    late_interaction,
    pooled_cosine,
)
from xmkeras.method import Outputs, Tensor
from xmkeras.methods._region_words import MatchingParams, PairScored, both_sides, words_option
from xmkeras.options import option

INTERACTIONS = ("attention", "late", "pooled")
_SMOOTHING = {"t2i": 9.0, "i2t": 4.0}
_SHARPNESS = {"t2i": 6.0, "i2t": 5.0}


class Scan(PairScored):
    """Lee, Chen, Hua, Hu and He, "Stacked Cross Attention for Image-Text Matching", ECCV 2018.

    Each word attends to the regions (t2i), or each region to the words (i2t); the score of a pair is the pooled cosine
    of each with what it attends to. With `--scan.addr` ADDR trains on top of it. Beside the attention stand two scores
    that it has to be better than: late interaction, the mean over the words of their best region's cosine, and the
    cosine of the sums of each side's vectors.
    """

    @dataclasses.dataclass(frozen=True)
    class Params(MatchingParams, prefix="scan."):
        """The options of SCAN, flags `--scan.<field>`.

        Raises:
            UserError: a value outside its range or choices.
        """

        direction: str = option("t2i", "Words attend to regions, regions to words, or the mean of both scores.",
                                (*DIRECTIONS, "both"))  # fmt: skip
        interaction: str = option("attention", "The score; the others are what it is compared with.", INTERACTIONS)
        pooling: str = option("avg", "Mean or log-sum-exp of a pair's cosines.", POOLINGS)
        smoothing: float = option(0.0, "lambda_1 of the attention; 0: 9 for t2i, 4 for i2t.", least=0, most=80)
        sharpness: float = option(0.0, "lambda_2 of log-sum-exp; 0: 6 for t2i, 5 for i2t.", least=0, most=80)
        activation: str = option("leaky_relu", "Of the products, as released; relu as printed.", ACTIVATIONS)
        words: str = words_option()

    def scores(self, outputs: Outputs, *, pairs: bool = False) -> Tensor:
        """The mean over the chosen directions."""
        regions, words, region_mask, word_mask = both_sides(outputs)
        sides: dict[str, Any] = {"region_mask": region_mask, "word_mask": word_mask, "pairs": pairs}
        if self.params.interaction == "pooled":
            return pooled_cosine(regions, words, **sides)
        directions = DIRECTIONS if self.params.direction == "both" else (self.params.direction,)
        if self.params.interaction == "late":
            found = [late_interaction(regions, words, **sides, direction=one) for one in directions]
        else:
            chosen = [{**sides, **self._pooling(one), **self._attention(one)} for one in directions]
            found = [cross_attention(regions, words, **one) for one in chosen]
        return sum(found) / len(found)

    @property
    def attends(self) -> bool:
        """Not where regions look at words alone, nor where the score knows no attention."""
        return self.params.interaction == "attention" and self.params.direction != "i2t"

    def attention(self, outputs: Outputs) -> Tensor:
        """The shares (n, t, r) of the regions that each word of row i looks at, see `attention_weights`."""
        return attention_weights(*both_sides(outputs), **self._attention("t2i"))

    def _attention(self, direction: str) -> dict[str, Any]:
        smoothing = self.params.smoothing or _SMOOTHING[direction]
        return {"direction": direction, "smoothing": smoothing, "activation": self.params.activation}

    def _pooling(self, direction: str) -> dict[str, Any]:
        return {"pooling": self.params.pooling, "sharpness": self.params.sharpness or _SHARPNESS[direction]}


METHOD = Scan
