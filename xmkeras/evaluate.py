"""`python -m xmkeras.evaluate --run=DIR --split=test`: measures a trained run and writes its report."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence

from xmkeras import flags
from xmkeras.options import Options, option
from xmkeras.retrieval import verdict
from xmkeras.retrieval.tables import format_table
from xmkeras.run.directory import RunDirectory


@dataclasses.dataclass(frozen=True)
class EvaluateOptions(Options):
    """The flags of this command alone."""

    split: str = option("test", "split to measure", ("train", "validation", "test"))
    ties: str = option(
        "pessimistic", "rank of an item among others of equal score", ("pessimistic", "optimistic", "index")
    )
    output: str = option("", "directory of the report; empty: the run directory")
    ensemble: tuple[str, ...] = option((), "another run directory, whose scores are averaged with these; repeatable")
    against: str = option("", "another run directory that this run is compared with, by a paired bootstrap over images")
    baseline: str = option(
        "none",
        "what the frozen features that the run began with give without training, shown beside it: cca, of images alone "
        "frozen, pca or whitened; auto: cca, of images alone whitened",
        ("none", "auto", "cca", "frozen", "pca", "whitened"),
    )


def main(argv: Sequence[str]) -> int:
    """Evaluates what the flags describe; returns the exit status."""
    command = flags.parse_for_run(argv, lambda path: RunDirectory.existing(path).config(), EvaluateOptions)
    run = RunDirectory.existing(command.config.train.run)
    from xmkeras.run import evaluation  # TensorFlow loads once the flags are known to be good

    options = command.options
    measured, report = evaluation.evaluate(
        command.config,
        run,
        options.split,
        ties=options.ties,
        output=options.output,
        ensemble=options.ensemble,
        against=options.against,
        baseline=options.baseline,
    )
    print(format_table(measured.results))
    if doubt := verdict.of_measured(measured):
        print(doubt)
    print(f"Report: {report}" if report else f"{run.path} cannot be written; --output=DIR writes a report elsewhere.")
    return 0


if __name__ == "__main__":
    sys.exit(flags.main_guard(main))
