"""What an evaluation protocol measures of a split, and what its part of the report is drawn from."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from xmkeras.retrieval.both_ways import BothWays, Relevance
from xmkeras.retrieval.embeddings import EmbeddingSet
from xmkeras.retrieval.scores import Score
from xmkeras.retrieval.tally import Ties

Thumbnail = Callable[[str], np.ndarray]
# A word and its shares of an image, (h, w); and from the place of a text and the id of an image to those of its words.
Look = tuple[str, np.ndarray]
Looks = Callable[[int, str], Sequence[Look]]
Attended = Callable[[str], Mapping[str, np.ndarray]]

FOLDS = 5  # of COCO's test images, a thousand each
_SIZES = ("queries", "gallery", "classes")


@dataclass(frozen=True)
class Split:
    """An embedded split, and how it is to be measured.

    images: each distinct image once. texts: each caption, with the id and label of its image; None for images alone.
    captions: (m,) the words of the texts. label_kind: what a label stands for, "class", "identity" or "image".
    score, ties: as in `ranking.ranks`, images first; with a `score_matrix.MatrixScore`, the embeddings are places in
    it. folds: how many `folds` cuts the images into.
    """

    images: EmbeddingSet
    texts: EmbeddingSet | None
    captions: list[str]
    label_kind: str
    score: Score = None
    ties: Ties = "pessimistic"
    folds: int = FOLDS


@dataclass(frozen=True)
class Measured:
    """One split's figures by name, and what they were made of.

    ranked, texts: None where images are searched by images. captions: (m,) the words of the texts, if any.
    curves: way -> precision over scope. score: by which everything was ranked, images first.
    """

    results: dict[str, float]
    ranked: BothWays | None
    images: EmbeddingSet
    texts: EmbeddingSet | None
    captions: list[str]
    relevance: Relevance
    curves: dict[str, np.ndarray] = field(default_factory=dict)
    score: Score = None

    @property
    def scalars(self) -> dict[str, float]:
        """The results that change from one evaluation to the next: neither sizes nor chance."""
        return {
            name: value
            for name, value in self.results.items()
            if not name.startswith("chance/") and name.rpartition("/")[2] not in _SIZES
        }

    @property
    def chance(self) -> dict[str, float]:
        """What a random order has of the `scalars`, where it is known, with "chance/" before the name of each."""
        known = {f"chance/{name}" for name in self.scalars}
        return {name: value for name, value in self.results.items() if name in known}


@dataclass(frozen=True)
class Show:
    """What the report of a run shows beside its figures.

    thumbnail: image id -> uint8 (h, w, 3), called for the images that are shown, and no others; None: no pictures.
    credit: attribution, put under the pictures. label_names: the name of each label, numbers where empty.
    name: of the run. seed: of what is drawn by lot and of t-SNE. examples: queries of each kind (best, typical,
    worst), each with its first `k` answers.
    private_dims: how many of the last dimensions of an embedding tell nothing but its modality.
    attended: image id -> where in it a model's attention looks, (h, w) weights by the name of each map; {} where it has
    none; called as `thumbnail` is.
    looks: place of a text, image id -> where in the image each of its words looks; called as `thumbnail` is. None where
    words are not matched with regions.
    untrained: embeds the same split with the run's first weights, images and texts, for a comparison.
    """

    thumbnail: Thumbnail | None = None
    credit: str = ""
    label_names: Sequence[str] = ()
    name: str = "this run"
    seed: int = 0
    examples: int = 3
    k: int = 5
    private_dims: int = 0
    attended: Attended | None = None
    looks: Looks | None = None
    untrained: Callable[[], tuple[EmbeddingSet, EmbeddingSet]] | None = None
