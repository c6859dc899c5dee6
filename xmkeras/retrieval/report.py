"""report.md: what a person reads after an evaluation, with curves and the best, typical and worst queries."""

import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure

from xmkeras.files import write_atomically
from xmkeras.retrieval import gallery, plots
from xmkeras.retrieval.embeddings import EmbeddingSet
from xmkeras.retrieval.protocols import BothWays
from xmkeras.retrieval.scores import Score, turned
from xmkeras.retrieval.tables import format_table, markdown_table, write_eval

__all__ = ["Picture", "Section", "format_table", "markdown_table", "write_eval", "write_report"]


class Picture(NamedTuple):
    """A picture of a report: the stem of its file, its description, and the figure."""

    name: str
    words: str
    figure: Figure


class Section(NamedTuple):
    """A part of a report."""

    title: str
    text: str
    pictures: Sequence[Picture] = ()


def write_report(
    folder: str | os.PathLike[str],
    *,
    title: str,
    results: Mapping[str, float],
    ranked: BothWays,
    images: EmbeddingSet,
    texts: EmbeddingSet,
    captions: Sequence[str],
    thumbnail: gallery.Thumbnail | None,
    metrics_csv: str | os.PathLike[str] | None = None,
    relevance: str = "id",
    score: Score = None,
    sections: Sequence[Section] = (),
    credit: str = "",
    notes: str = "",
    examples: int = 3,
    k: int = 5,
) -> Path:
    """Writes `report.md`, and its pictures in `report/`, to `folder`; returns the path of report.md.

    title: of the report, such as the run and the split. notes: Markdown put below it.
    results, ranked: from `protocols.retrieval` and `protocols.rank_both_ways` of `images` and `texts`, with
    the same `relevance` and `score`. captions: (m,) the words of the texts.
    thumbnail: image id -> uint8 (h, w, 3); called for the images that are shown, and no others. None leaves the
    queries with their answers out. sections: shown before these.
    metrics_csv: the numbers of the training; left out where there is no such file.
    credit: attribution, put under the pictures. examples: queries of each kind, with their first `k` answers.
    """
    report = _Report(Path(folder), credit)
    report.add(f"# {title}", notes, markdown_table(results))
    report.add("Chance is a random order of the same gallery. Ranks count from 1.")
    report.picture("ranks", "How far down the right answers stand", _ranks_figure(ranked, images, texts))
    history = _history(metrics_csv)
    if history is not None:
        report.add("## Training")
        report.picture("training", "Losses, rates and recalls over the steps of the training", history)
    for section in sections:
        report.add(f"## {section.title}", section.text)
        for picture in section.pictures:
            report.picture(*picture)
    if thumbnail is None:
        return report.write()
    asked, by_texts = ranked.text_relevant > 0, turned(score)
    found = _sections(texts, images, ranked.text_to_image, asked, examples, k=k, relevance=relevance, score=by_texts)
    report.add("## Texts and the images they found")
    report.picture(
        "text_to_image",
        "Captions with their first images: right ones framed in green, wrong ones in red",
        gallery.text_query_figure(found, captions, images.ids, thumbnail, credit=credit),
    )
    asked = ranked.image_relevant > 0
    found = _sections(images, texts, ranked.image_to_text, asked, examples, k=k, relevance=relevance, score=score)
    report.add("## Images and the texts they found")
    report.picture(
        "image_to_text",
        "Images with their first captions: right ones marked in green, wrong ones in red",
        gallery.image_query_figure(found, captions, images.ids, thumbnail, credit=credit),
    )
    return report.write()


class _Report:
    def __init__(self, folder: Path, credit: str) -> None:
        self.folder, self.credit = folder, credit
        self.parts: list[str] = []

    def add(self, *parts: str) -> None:
        self.parts += [part.strip() for part in parts if part.strip()]

    def picture(self, name: str, words: str, figure: Figure) -> None:
        data = io.BytesIO()
        figure.savefig(data, format="png")
        write_atomically(self.folder / "report" / f"{name}.png", data.getvalue())
        self.add(f"![{words}](report/{name}.png)")

    def write(self) -> Path:
        if self.credit:
            self.add(f"*Images: {self.credit}*")
        path = self.folder / "report.md"
        write_atomically(path, ("\n\n".join(self.parts) + "\n").encode())
        return path


def _ranks_figure(ranked: BothWays, images: EmbeddingSet, texts: EmbeddingSet) -> Figure:
    ways = {
        "text_to_image": (ranked.text_to_image, ranked.text_relevant, len(images)),
        "image_to_text": (ranked.image_to_text, ranked.image_relevant, len(texts)),
    }
    asked = {way: relevant > 0 for way, (_, relevant, _) in ways.items()}
    return plots.cumulative_match_figure(
        {way: ranks[asked[way]] for way, (ranks, _, _) in ways.items()},
        {way: relevant[asked[way]] for way, (_, relevant, _) in ways.items()},
        {way: size for way, (_, _, size) in ways.items()},
    )


def _history(metrics_csv: str | os.PathLike[str] | None) -> Figure | None:
    if metrics_csv is None or not os.path.exists(metrics_csv):
        return None
    import pandas as pd

    history = pd.read_csv(metrics_csv)
    return plots.training_figure(history) if "step" in history else None


def _sections(
    queries: EmbeddingSet,
    searched: EmbeddingSet,
    ranks: np.ndarray,
    asked: np.ndarray,
    examples: int,
    *,
    k: int,
    relevance: str,
    score: Score,
) -> dict[str, list[gallery.Found]]:
    titles = {
        "best": "Best",
        "typical": f"Typical (median rank {int(np.median(ranks[asked])) + 1:,} of {len(searched):,})",
        "worst": "Worst",
    }
    return {
        titles[kind]: gallery.answer(queries, searched, places, ranks, k=k, relevance=relevance, score=score)
        for kind, places in gallery.choose_queries(ranks, asked, examples).items()
    }
