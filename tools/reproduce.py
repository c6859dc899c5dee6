"""Runs the rows of a table with several seeds, measures each once, and writes the table beside published figures.

    python -m tools.reproduce --table=zero_shot_flowers --out=runs/flowers --seeds=3 -- --data_dir=DIR

The same command goes on where it was stopped; a seed that has been measured is never measured again. Features of frozen
towers are shared by all runs. Beside a folder for each run, `table.md`, `table.csv` and `table.tex` lie in the output
folder, written anew after each run.

A table is a JSON file, named by its path or by its name in `tools/tables`:

- `title`, and `note`, which is put below it: what the published figures are of, say.
- `columns`: heads and the figures that stand below them, {"R@1": "text_to_image/R@1"}; `digits` after the point, of
  figures times `scale`.
- `flags`: of every row, before its own.
- `rows`: each with a `name`, `flags`, and, where there are any, `published` figures by head. A row that is no training
  names a function in `by`, "module:function", which is called with the flags, the split and the row's `options`, and
  returns figures by name; one that depends on no seed says `"seeds": 1`. A row that is no training either names other
  rows in `ensemble`: it measures the mean of the scores of their runs of the same seed, which keep their checkpoints.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import importlib
import io
import json
import pathlib
import re
import shutil
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from xmkeras.errors import UserError
from xmkeras.files import write_atomically

TABLES = pathlib.Path(__file__).parent / "tables"
MINUTES = "minutes"

Figures = Mapping[str, float]
Results = Mapping[str, Sequence[Figures]]


@dataclasses.dataclass(frozen=True)
class Row:
    """A row of a table, and how it is made.

    Attributes:
        name: its first cell; the folder of its runs is named after it.
        flags: of the training.
        published: figures by the heads of the columns.
        by: the function that measures it without a training, "module:function".
        options: of that function.
        ensemble: names of other rows, whose scores are averaged.
        seeds: how many at most; 0 for all.
    """

    name: str
    flags: tuple[str, ...] = ()
    published: Figures = dataclasses.field(default_factory=dict)
    by: str = ""
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    ensemble: tuple[str, ...] = ()
    seeds: int = 0

    @property
    def folder(self) -> str:
        """The name as that of a folder."""
        return re.sub(r"[^A-Za-z0-9]+", "-", self.name).strip("-").lower()


@dataclasses.dataclass(frozen=True)
class Table:
    """What a table file says; see the module for the fields."""

    columns: Mapping[str, str]
    rows: tuple[Row, ...]
    flags: tuple[str, ...] = ()
    title: str = ""
    note: str = ""
    digits: int = 1
    scale: float = 1.0

    @classmethod
    def load(cls, name: str) -> Table:
        """Reads a table by its path, or by its name in `tools/tables`.

        Raises:
            UserError: it is missing, no JSON, or lacks what a table needs.
        """
        path = pathlib.Path(name) if name.endswith(".json") else TABLES / f"{name}.json"
        try:
            given = json.loads(path.read_text(encoding="utf-8"))
            rows = tuple(
                Row(**{**row, "flags": tuple(row.get("flags", ())), "ensemble": tuple(row.get("ensemble", ()))})
                for row in given.pop("rows")
            )
            table = cls(**{**given, "flags": tuple(given.get("flags", ()))}, rows=rows)
            unknown = {head for row in rows for head in row.published} - {*table.columns}
            if unknown or len({row.folder for row in rows}) < len(rows) or not rows:
                raise ValueError(f"no column {min(unknown)}" if unknown else "rows need names of their own")
            table.check_ensembles()
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            known = ", ".join(sorted(file.stem for file in TABLES.glob("*.json")))
            raise UserError(
                f"The table {path} cannot be used: {error!r}; give a file as python -m tools.reproduce --help "
                f"describes, or one of {known}."
            ) from error
        return table

    def check_ensembles(self) -> None:
        """Raises ValueError where an ensemble is more than that, or not of rows above it that are trained as often."""
        trained: dict[str, int] = {}
        for row in self.rows:
            if row.ensemble and (row.by or row.flags or row.options):
                raise ValueError(f"the ensemble {row.name!r} takes neither flags nor a function")
            for name in row.ensemble:
                if name not in trained:
                    raise ValueError(f"no trained row {name!r} above the ensemble {row.name!r}")
                if trained[name] and not 0 < row.seeds <= trained[name]:
                    raise ValueError(f"{name!r} has fewer seeds than the ensemble {row.name!r}")
            if not (row.by or row.ensemble):
                trained[row.name] = row.seeds

    def kept(self) -> set[str]:
        """The names of rows whose checkpoints others need."""
        return {name for row in self.rows for name in row.ensemble}

    def chosen(self, pattern: str) -> set[str]:
        """The names that hold a regular expression, and those of the rows that these need."""
        found = [row for row in self.rows if re.search(pattern, row.name)]
        return {name for row in found for name in (row.name, *row.ensemble)}


def measure_seed(
    folder: pathlib.Path, row: Row, flags: Sequence[str], split: str, features: str, *, keep: bool = False
) -> Figures:
    """Trains a row into `folder` and measures `split`; what has been measured before is read from its record.

    Args:
        folder: of the run; the runs of the other rows lie in folders beside its own.
        row: is measured by its function where it has one, or as the ensemble that it is.
        flags: all of them, with the seed.
        split: "validation" or "test".
        features: folder of cached features, where the flags name none.
        keep: leave the checkpoints; of the embeddings nothing is kept.

    Raises:
        UserError: a flag is wrong, or data are missing.
    """
    record = folder / f"{split}.json"
    if record.is_file():
        known: dict[str, float] = json.loads(record.read_text(encoding="utf-8"))
        return known
    began = time.monotonic()
    how = _called(row) if row.by else _averaged(row) if row.ensemble else _trained
    figures = how(folder, flags, split, features)
    figures = {**figures, MINUTES: (time.monotonic() - began) / 60}
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(record, json.dumps(figures, indent=1))
    for part in ("embeddings", "tensorboard", *(() if keep else ("checkpoints",))):
        shutil.rmtree(folder / part, ignore_errors=True)
    return figures


def _called(row: Row) -> Callable[..., Figures]:
    """The function of a row, with its options."""
    module, _, name = row.by.partition(":")
    try:
        function = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise UserError(f"The row {row.name!r} is measured by {row.by!r}, which is not there ({error}).") from error

    def measured(folder: pathlib.Path, flags: Sequence[str], split: str, features: str) -> Figures:
        figures: Figures = function(_config(folder, flags, features), split, **row.options)
        return figures

    return measured


def _averaged(row: Row) -> Callable[..., Figures]:
    """The ensemble of a row, which has to be measured after its members."""

    def measured(folder: pathlib.Path, flags: Sequence[str], split: str, features: str) -> Figures:
        from xmkeras.run import evaluation
        from xmkeras.run.directory import RunDirectory

        first, *others = (folder.parent.parent / Row(name).folder / folder.name for name in row.ensemble)
        for member in (first, *others):
            if (member / f"{split}.json").is_file() and not (member / "checkpoints").is_dir():
                raise UserError(
                    f"{member} was measured without keeping its weights, which {row.name!r} needs; delete it."
                )
        run = RunDirectory.existing(str(first))
        results = evaluation.measure(run.config(), run, split, cached=True, ensemble=list(map(str, others)))[0].results
        for member in (first, *others):
            shutil.rmtree(member / "embeddings", ignore_errors=True)
        return results

    return measured


def _trained(folder: pathlib.Path, flags: Sequence[str], split: str, features: str) -> Figures:
    import keras

    from xmkeras.run import evaluation, jobs
    from xmkeras.run.directory import RunDirectory

    keras.utils.clear_session()
    config, run = _config(folder, flags, features), RunDirectory(folder)
    result = jobs.train(config, run)
    if result.ending == "interrupted":
        raise KeyboardInterrupt
    measured, step = evaluation.measure(config, run, split, cached=True)
    return {**measured.results, "step": step}


def _config(folder: pathlib.Path, flags: Sequence[str], features: str) -> Any:
    from xmkeras import flags as flag_parser
    from xmkeras.run.directory import RunDirectory

    config = RunDirectory(folder).named_in(flag_parser.parse(flags).config)
    train = dataclasses.replace(config.train, feature_dir=config.train.feature_dir or features)
    return dataclasses.replace(config, train=train)


def run(
    table: Table, out: pathlib.Path, seeds: Sequence[int], split: str, more: Sequence[str] = (), pattern: str = ""
) -> dict[str, list[Figures]]:
    """The figures of every row, one dictionary a seed; seeds are the outer loop, so that all rows grow alike.

    With a `pattern`, of the rows whose names hold it, and of those that they need.

    Raises:
        UserError: a flag is wrong, or data are missing.
    """
    results: dict[str, list[Figures]] = {row.name: [] for row in table.rows}
    kept, chosen = table.kept(), table.chosen(pattern)
    for number, seed in enumerate(seeds):
        for row in table.rows:
            if row.name not in chosen or (row.seeds and number >= row.seeds):
                continue
            flags = [*table.flags, *row.flags, *more, f"--seed={seed}"]
            folder, keep = out / row.folder / f"seed-{seed}", row.name in kept
            figures = measure_seed(folder, row, flags, split, str(out / "features"), keep=keep)
            missing = [figure for figure in table.columns.values() if figure not in figures]
            if missing:
                raise UserError(
                    f"The table wants {missing[0]!r} of the row {row.name!r}, of which is measured: "
                    f"{', '.join(figures)}."
                )
            results[row.name].append(figures)
            shown = ", ".join(f"{head} {_number(table, [figures], head)}" for head in table.columns)
            print(f"{row.name}, seed {seed}: {shown}", flush=True)
            write_reports(out, table, results)
    return results


def write_reports(out: pathlib.Path, table: Table, results: Results) -> None:
    """Writes `table.md`, `table.csv` and `table.tex` of the rows that are there."""
    write_atomically(out / "table.md", markdown(table, results))
    write_atomically(out / "table.csv", comma_separated(table, results))
    write_atomically(out / "table.tex", latex(table, results))


def markdown(table: Table, results: Results) -> str:
    """A row a line: mean ± standard deviation over seeds, with the published figure in brackets; seeds and minutes."""
    head = ["", *table.columns, "seeds", "minutes a run"]
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for row, seeds in _there(table, results):
        cells = []
        for column in table.columns:
            published = f" ({_shown(table, row.published[column])})" if column in row.published else ""
            cells.append(_number(table, seeds, column) + published)
        minutes = statistics.mean(seed.get(MINUTES, 0.0) for seed in seeds)
        lines.append(f"| {' | '.join([row.name, *cells, str(len(seeds)), f'{minutes:.1f}'])} |")
    parts = [f"# {table.title}" if table.title else "", table.note, "\n".join(lines)]
    return "\n\n".join(part for part in parts if part) + "\n"


def comma_separated(table: Table, results: Results) -> str:
    """A line for each seed of each row, "mean" and "published" among the seeds; figures are scaled, not rounded."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["row", "seed", *table.columns])
    for row, seeds in _there(table, results):
        values = {head: [seed[figure] * table.scale for seed in seeds] for head, figure in table.columns.items()}
        for number in range(len(seeds)):
            writer.writerow([row.name, number, *(values[head][number] for head in table.columns)])
        writer.writerow([row.name, "mean", *(statistics.mean(values[head]) for head in table.columns)])
        if row.published:
            writer.writerow([row.name, "published", *(row.published.get(head, "") for head in table.columns)])
    return text.getvalue()


def latex(table: Table, results: Results) -> str:
    """A tabular, published figures in a line of their own below those of their row."""
    lines = [rf"\begin{{tabular}}{{l{'r' * len(table.columns)}}}", _line(["", *table.columns]), r"\hline"]
    for row, seeds in _there(table, results):
        lines.append(_line([row.name, *(_number(table, seeds, head) for head in table.columns)]))
        if row.published:
            published = [_shown(table, row.published[head]) if head in row.published else "" for head in table.columns]
            lines.append(_line(["published", *published]))
    return "\n".join([*lines, r"\end{tabular}", ""])


def _line(cells: Iterable[str]) -> str:
    text = " & ".join(re.sub(r"([&%#_$])", r"\\\1", cell).replace("±", r"$\pm$") for cell in cells)
    return rf"{text} \\"


def _there(table: Table, results: Results) -> list[tuple[Row, Sequence[Figures]]]:
    return [(row, results[row.name]) for row in table.rows if results[row.name]]


def _number(table: Table, seeds: Sequence[Figures], head: str) -> str:
    values = [seed[table.columns[head]] * table.scale for seed in seeds]
    spread = f" ± {_shown(table, statistics.stdev(values))}" if len(values) > 1 else ""
    return _shown(table, statistics.mean(values)) + spread


def _shown(table: Table, value: float) -> str:
    return f"{value:.{table.digits}f}"


def seeds_of(text: str) -> list[int]:
    """The seeds 0, 1, ... of a number, or those of a list with commas."""
    try:
        return [int(seed) for seed in text.split(",")] if "," in text else list(range(int(text)))
    except ValueError as error:
        raise UserError(f"--seeds={text} is neither a number nor numbers with commas.") from error


def main(argv: Sequence[str] | None = None) -> int:
    """Makes a table; returns the exit status."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    cut = arguments.index("--") if "--" in arguments else len(arguments)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", required=True, help="file, or name in tools/tables")
    parser.add_argument("--out", type=pathlib.Path, help="folder of the runs and the table; runs/NAME if not given")
    parser.add_argument("--seeds", default="3", help="how many, or a list: 0,1,2")
    parser.add_argument("--rows", default="", help="regular expression of the names of rows; others as these need them")
    parser.add_argument("--split", default="test", choices=("validation", "test"))
    given = parser.parse_args(arguments[:cut])
    out = given.out or pathlib.Path("runs") / pathlib.Path(given.table).stem
    try:
        table = Table.load(given.table)
        if not table.chosen(given.rows):
            raise UserError(f"--rows={given.rows} is in none of: {', '.join(row.name for row in table.rows)}.")
        run(table, out, seeds_of(given.seeds), given.split, arguments[cut + 1 :], given.rows)
    except UserError as error:
        print(f"reproduce: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("Stopped; the same command goes on.", file=sys.stderr)
        return 130
    print((out / "table.md").read_text(encoding="utf-8"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
