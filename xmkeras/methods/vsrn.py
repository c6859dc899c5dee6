"""VSRN: reasoning over regions, and captions told from them in training."""

from __future__ import annotations

import dataclasses
from typing import Any

import keras

from xmkeras.errors import UserError
from xmkeras.layers.caption_decoder import CaptionDecoder
from xmkeras.losses.caption import caption_nll
from xmkeras.method import Batch, Losses, Outputs, Tensor
from xmkeras.methods._domains import Elements
from xmkeras.methods._region_words import MatchingParams, RegionWords
from xmkeras.models.encoder import Encoder, Towers
from xmkeras.models.regions import AXES, Reasoning, Regions
from xmkeras.models.words import Words
from xmkeras.options import option

_IDS = "text"


class Vsrn(RegionWords):
    """Li, Zhang, Li, Li and Fu, "Visual Semantic Reasoning for Image-Text Matching", ICCV 2019.

    Regions pass through layers of a graph over all of them and through a GRU, whose last state is the image's
    embedding; a sentence's is the last state of another GRU; they are ranked by their cosine. In training the regions
    also have to tell the caption. With `--vsrn.addr` ADDR trains on the regions and the states of the words.
    """

    @dataclasses.dataclass(frozen=True)
    class Params(MatchingParams, prefix="vsrn."):
        """The options of VSRN, flags `--vsrn.<field>`.

        Raises:
            UserError: a value outside its range or choices.
        """

        layers: int = option(4, "Layers of the graph over the regions.", least=1, most=64)
        unit_regions: bool = option(False, "Regions enter the graph with length 1, as released for COCO.")
        axis: str = option(
            "features",
            "The graph's outputs are normalised over the features of a region, or as released over the regions.",
            tuple(AXES),
        )
        joint_norm: bool = option(False, "Batch norm behind the global state, as released for Flickr30K.")
        caption_weight: float = option(1.0, "Weight of the caption loss; 0 trains without it.", least=0)
        caption_units: int = option(512, "Units of the two GRUs of the caption branch.", least=1, most=2**14)
        caption_word_dim: int = option(300, "Size of its word vectors.", least=1, most=2**14)
        caption_dropout: float = option(0.2, "Dropout on its regions.", least=0, below=1)

    def __init__(self, towers: Towers, params: Params, num_labels: int):
        super().__init__(towers, params, num_labels)
        if not params.caption_weight:
            return
        self.gathered = (_IDS,)
        dim = towers.embedding_dim
        decoder = CaptionDecoder(
            _vocabulary_size(towers.sides["text"]),
            params.caption_units,
            params.caption_word_dim,
            params.caption_dropout,
            name="caption",
        )
        self.add_head("caption", decoder, None, None, dim)

    @classmethod
    def encoder_options(cls, params: Params) -> dict[str, dict[str, Any]]:
        reasoning = Reasoning(params.layers, params.unit_regions, params.axis, params.joint_norm)
        return {"image": {"regions": Regions(reasoning)}, "text": {"words": Words(last=True)}}

    def scores(self, outputs: Outputs, *, pairs: bool = False) -> Tensor:
        """The cosines, of embeddings of length 1."""
        ops = keras.ops
        image, text = outputs["image"], outputs["text"]
        return ops.sum(image * text, axis=-1) if pairs else ops.matmul(image, ops.transpose(text))

    def elements(self, outputs: Outputs) -> Elements:
        """The regions behind the graph, and the states of the words."""
        return Elements(outputs["text/words"], outputs["image/regions"], outputs["text/words_mask"], None)

    def losses(self, outputs: Outputs, batch: Batch) -> Losses:
        """The ranking loss, ADDR's terms, and the caption loss."""
        terms = super().losses(outputs, batch)
        if self.params.caption_weight:
            terms["caption"] = self.params.caption_weight * self._caption(outputs["image/regions"], batch[_IDS])
        return terms

    def _caption(self, regions: Tensor, ids: Tensor) -> Tensor:
        """Of each word of a caption but the first, and of the padding behind the last one, which ends it."""
        ops = keras.ops
        logits = self.heads["caption"](regions, ids, training=True)
        following = ops.concatenate([ids[:, 1:], ops.zeros_like(ids[:, :1])], axis=1)
        return caption_nll(logits, following, ops.not_equal(ids, 0))


def _vocabulary_size(encoder: Encoder) -> int:
    """The number of word ids of a text encoder.

    Raises:
        UserError: it reads something else than ids of words.
    """
    tables = [layer for layer in encoder.parts[0].model.layers if isinstance(layer, keras.layers.Embedding)]
    if len(encoder.parts) > 1 or len(tables) != 1:
        raise UserError(
            "--vsrn.caption_weight trains a branch that tells the words of a caption, which --text_tower=bert has not; "
            "set it to 0, or choose --text_tower=bilstm."
        )
    return int(tables[0].input_dim)


METHOD = Vsrn
