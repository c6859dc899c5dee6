"""Linear baselines of a run: what the features that it began with are worth in closed form, without training."""

from __future__ import annotations

import dataclasses
import pathlib
import tempfile
from collections.abc import Mapping
from typing import Any

import numpy as np

from xmkeras import methods
from xmkeras.config import PICTURES, WORDS, Config
from xmkeras.data.rows import RowTable
from xmkeras.errors import UserError
from xmkeras.method import Method
from xmkeras.models.last_dense import before_last_dense, level_attention
from xmkeras.retrieval.embeddings import EmbeddingSet, EmbeddingWriter
from xmkeras.retrieval.linear_maps import LinearMap
from xmkeras.retrieval.measured import Measured, Split
from xmkeras.retrieval.protocols import EvaluationProtocol
from xmkeras.retrieval.tally import Ties
from xmkeras.run.assembly import build_method, freeze, stages_of
from xmkeras.run.caches import readers_of
from xmkeras.run.directory import RunDirectory
from xmkeras.run.head_start import Features, check_kind, closed_form, features_of
from xmkeras.run.sides import Side, read_kept, sides_of

TITLES = {
    "cca": "CCA of the same features",
    "frozen": "the frozen features",
    "pca": "PCA of the frozen features",
    "whitened": "the whitened features",
}
# Without layers of random weights between the features and the last dense one, and with nothing behind that.
_PLAIN: dict[str, Any] = {
    "lstm_units": 0, "pooling": "mean", "word_dropout": 0.0, "image_hidden": "none", "text_hidden": "none",
    "embedding_activation": "linear", "embedding_norm": "none",
}  # fmt: skip
_CCA_DIMENSIONS = (64, 128, 256, 512)
_BLOCK = 4096


@dataclasses.dataclass(frozen=True)
class Baseline:
    """A closed form of the features that a run began with, fitted on its training split.

    Texts are the means of their token vectors, attended maps those of their positions; images are seen without
    augmentation.

    Attributes:
        kind: one of `TITLES`.
        config: of the run, with plain heads.
        run: whose folder holds the caches.
        table: all rows.
        sides: with plain heads.
        method: with the run's first weights and nothing to train.
    """

    kind: str
    config: Config
    run: RunDirectory
    table: RowTable
    sides: Mapping[str, Side]
    method: Method

    @classmethod
    def of(cls, kind: str, config: Config, run: RunDirectory, table: RowTable) -> Baseline:
        """The baseline of that kind; "auto" is cca, or whitened where there are no texts.

        Raises:
            UserError: the run has no such baseline.
        """
        names = tuple(methods.load(config.method).sides)
        if kind == "auto":
            kind = "cca" if "text" in names else "whitened"
        check_kind(f"--baseline={kind}", kind, names)
        config = dataclasses.replace(config, model=dataclasses.replace(config.model, **_PLAIN))
        rows = table.split("train")
        sides = sides_of(config, names, rows, read_kept(config, run))
        _check_pretrained(config, sides)
        method = build_method(config, sides, rows.num_labels)
        freeze(config, method, stages_of(config)[0])
        for encoder in method.towers.sides.values():
            level_attention(encoder)
        return cls(kind, config, run, table, sides, method)

    def measure(self, protocol: EvaluationProtocol, split: str, workspace: pathlib.Path, ties: Ties) -> Measured:
        """Measures a split by a protocol, items ranked by the cosine; the embeddings stay in `workspace`."""
        part = self.table.split(split)
        workspace.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".features-", dir=workspace) as folder:
            known = self._features("train", pathlib.Path(folder))
            asked = known if split == "train" else self._features(split, pathlib.Path(folder))
            made = self._mapped(known, asked, workspace)
            images, texts = made["image"], made.get("text")
            if texts is not None:
                texts = texts.take(np.isin(texts.ids, images.ids))
            return protocol.measure(Split(images, texts, [], part.label_kind, ties=ties))

    def _features(self, split: str, folder: pathlib.Path) -> Features:
        rows, training = self.table.split(split), split == "train"
        readers = readers_of(self.config, self.run, rows, self.sides, self.method, training=training)
        fronts = {side: before_last_dense(side, encoder) for side, encoder in self.method.towers.sides.items()}
        return features_of(fronts, readers, rows, folder / split)

    def _mapped(self, known: Features, asked: Features, folder: pathlib.Path) -> Features:
        """Embeddings of `asked` by what is fitted on `known`."""
        widths = [features.vectors.shape[1] for features in known.values()]
        most = min(widths)
        dimensions = {
            "cca": (*(size for size in _CCA_DIMENSIONS if size < most), most),
            "whitened": (most,),
            "pca": (min(most, self.config.model.embedding_dim),),
        }
        if self.kind == "frozen":
            eye = LinearMap(np.zeros(most), np.eye(most), np.ones(most))
            maps = {"image": eye}
        else:
            maps = closed_form(self.kind, known, dimensions[self.kind])
        return {side: _embedded(asked[side], to, folder / f"{side}s") for side, to in maps.items()}


def _embedded(features: EmbeddingSet, to: LinearMap, folder: pathlib.Path) -> EmbeddingSet:
    """What a map makes of features, block by block, written to a folder."""
    with EmbeddingWriter(folder, len(to.variances)) as writer:
        for start in range(0, len(features), _BLOCK):
            part = features.take(slice(start, start + _BLOCK))
            writer.append(part.ids, part.labels, to(part.vectors))
    return EmbeddingSet.load(folder)


def _check_pretrained(config: Config, sides: Mapping[str, Side]) -> None:
    """Refuses towers that began with random weights, whose features say nothing."""
    kinds = {side.kind for side in sides.values()}
    if PICTURES in kinds and config.model.image_weights == "none":
        raise UserError("--baseline needs features: this run's image tower began with random weights; leave it away.")
    if WORDS in kinds and config.model.word_vectors == "none":
        raise UserError("--baseline needs features: this run's words began with random vectors; leave it away.")
