"""report.md: what a person reads after an evaluation: its figures, the sections of its protocol, its training."""

import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from matplotlib.figure import Figure

from xmkeras.files import write_atomically
from xmkeras.retrieval.plots import training_figure
from xmkeras.retrieval.tables import markdown_table


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
    sections: Sequence[Section],
    notes: str = "",
    metrics_csv: str | os.PathLike[str] | None = None,
    steps_per_epoch: int = 0,
    credit: str = "",
) -> Path:
    """Writes `report.md`, and its pictures in `report/`, to `folder`; returns the path of report.md.

    title: of the report, such as the run and the split. notes: Markdown put below it. results, sections: from the
    protocol that measured the split. metrics_csv: the numbers of the training; left out where there is no such file.
    steps_per_epoch: of the training, 0 where it is not known. credit: attribution of the images.
    """
    report = _Report(Path(folder), credit)
    report.add(f"# {title}", notes, markdown_table(results))
    report.add("Chance is a random order of the same gallery. Ranks count from 1.")
    for section in (*sections, *_training(metrics_csv, steps_per_epoch)):
        report.add(f"## {section.title}", section.text)
        for picture in section.pictures:
            report.picture(*picture)
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


def _training(metrics_csv: str | os.PathLike[str] | None, steps_per_epoch: int) -> list[Section]:
    if metrics_csv is None or not os.path.exists(metrics_csv):
        return []
    import pandas as pd

    history = pd.read_csv(metrics_csv)
    figure = training_figure(history, steps_per_epoch) if "step" in history else None
    words = "Recalls, losses and rates over the training"
    return [] if figure is None else [Section("Training", "", (Picture("training", words, figure),))]
