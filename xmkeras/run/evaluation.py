"""What `evaluate` does: measures a trained run on one split, beside others, and reports."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Sequence

from xmkeras import methods
from xmkeras.config import Config
from xmkeras.data.rows import RowTable
from xmkeras.errors import UserError
from xmkeras.files import writable
from xmkeras.retrieval import metrics, paired, verdict
from xmkeras.retrieval.embeddings import EmbeddingSet
from xmkeras.retrieval.measured import Measured, Show
from xmkeras.retrieval.report import Section, write_report
from xmkeras.retrieval.tables import write_eval
from xmkeras.retrieval.tally import Ties
from xmkeras.run.assembly import freeze, load_table, sampler_of, stages_of
from xmkeras.run.baselines import TITLES, Baseline
from xmkeras.run.caches import readers_of
from xmkeras.run.directory import RunDirectory
from xmkeras.run.evaluator import Evaluator
from xmkeras.run.head_start import start_heads
from xmkeras.run.sides import check_table, read_kept, sides_of
from xmkeras.run.trained import Loaded, fresh, load


def measure(
    config: Config, run: RunDirectory, split: str = "test", *, cached: bool = False, ensemble: Sequence[str] = ()
) -> tuple[Measured, int]:
    """What `evaluate` measures, without a report, and the step of the weights.

    Args:
        config: of the run; its data may be another set's.
        run: the run.
        split: "train", "validation" or "test".
        cached: what the fronts make that the last stage did not train is kept and read as it is in training, which many
            runs over one split share.
        ensemble: directories of runs whose scores are averaged with this one's.

    Raises:
        UserError: a run has no checkpoint, or the split's data are missing.
    """
    part = load_table(config).split(split)
    others = [RunDirectory.existing(path) for path in ensemble]
    members = [(config, run), *((_on_data_of(config, other), other) for other in others)]
    models = [load(own, member) for own, member in members]
    evaluators = []
    for (own, member), loaded in zip(members, models, strict=True):
        evaluator = _evaluator(own, part, member.embeddings(split), loaded)
        if cached:
            freeze(own, loaded.method, stages_of(own)[-1])
            # As in training: averages of frozen weights may differ from them by rounding.
            kept = not own.train.ema
            evaluator.readers = readers_of(own, member, part, loaded.sides, loaded.method, training=False, cached=kept)
        evaluators.append(evaluator)
    return evaluators[0].measure(ensemble=evaluators[1:]), models[0].step


def evaluate(
    config: Config,
    run: RunDirectory,
    split: str = "test",
    *,
    ties: Ties = "pessimistic",
    output: str = "",
    ensemble: Sequence[str] = (),
    against: str = "",
    baseline: str = "none",
) -> tuple[Measured, pathlib.Path | None]:
    """Measures a trained run on one split and writes `eval.json`, `report.md` and its pictures.

    Args:
        config: of the run; its data may be another set's.
        run: the run.
        split: "train", "validation" or "test".
        ties: see `xmkeras.retrieval.ranking.ranks`.
        output: directory of the report; empty for the run's own.
        ensemble: directories of runs whose scores are averaged with this one's.
        against: the directory of another run that this one is compared with on the same split.
        baseline: a closed form of the run's first features that is measured beside it: see `xmkeras.run.baselines`.

    Returns:
        What was measured, and the path of the report; None where no `output` is given and the run cannot be written.

    Raises:
        UserError: a run has no checkpoint, or the split's data are missing.
    """
    with run.workspace(split) as folder:
        return _evaluated(config, run, split, folder, ties, output, ensemble, against, baseline)


def _evaluated(
    config: Config,
    run: RunDirectory,
    split: str,
    workspace: pathlib.Path,
    ties: Ties,
    output: str,
    ensemble: Sequence[str],
    against: str,
    baseline: str,
) -> tuple[Measured, pathlib.Path | None]:
    table = load_table(config)
    part = table.split(split)
    loaded = load(config, run)
    evaluator = _evaluator(config, part, workspace, loaded)
    other = _other(against, evaluator)
    # Of other data than the run's, what it began with cannot be told.
    began_here = config.data == run.config().data and "train" in table.split_names and not config.train.init_from
    linear = None
    if baseline != "none":
        if not began_here:
            raise UserError(
                "--baseline is of the features that a run began with, on its own training split; leave it away for "
                "other data, and for a run that began with another's weights (--init_from)."
            )
        linear = Baseline.of(baseline, config, run, table)
    others = [
        _evaluator_of(RunDirectory.existing(path), config, part, workspace.with_name(f"{workspace.name}-{number}"))
        for number, path in enumerate(ensemble, 2)
    ]
    measured = evaluator.measure(ties, others)
    show = Show(
        thumbnail=evaluator.thumbnail,
        credit=part.credit,
        label_names=table.label_names,
        name=run.path.name,
        seed=config.train.seed,
        private_dims=evaluator.towers.private_dims,
        attended=evaluator.attended if "image" in loaded.sides else None,
        looks=evaluator.looks if evaluator.attends else None,
        untrained=(lambda: _untrained(config, run, table, split, workspace)) if began_here else None,
    )
    sections = evaluator.protocol.sections(measured, show)
    if other is not None:
        second = _evaluator_of(other, config, part, workspace.with_name(f"{workspace.name}-compared")).measure(ties)
        difference = _compared(measured, second, ties)
        measured.results.update({"against/rsum": difference.mean, "against/p": difference.p})
        sections.append(paired.comparison_section(difference, str(run.path), str(other.path)))
    if linear is not None:
        sections.extend(_beside(linear, evaluator, measured, split, workspace, ties, str(run.path)))
    folder = pathlib.Path(output) if output else run.path
    if not output and not writable(folder):
        return measured, None
    about = {"split": split, "step": loaded.step, "ties": ties, "data": part.name, "run": str(run.path)}
    write_eval(folder / "eval.json", about | measured.results)
    names = " + ".join([run.path.name, *(pathlib.Path(path).name for path in ensemble)])
    report = write_report(
        folder,
        title=f"{names}: {split} split of {part.name}",
        notes=f"Weights of step {loaded.step:,}; `flags.cfg` of the run trains them again. "
        f"{verdict.of_measured(measured)}",
        results=measured.results,
        sections=sections,
        metrics_csv=run.path / "metrics.csv",
        steps_per_epoch=sampler_of(config, table.split("train")).steps_per_epoch if began_here else 0,
        credit=part.credit,
    )
    return measured, report


def _evaluator(config: Config, part: RowTable, workspace: pathlib.Path, loaded: Loaded) -> Evaluator:
    check_table(loaded.sides, config, part)
    evaluator = Evaluator(config, part, loaded.method, loaded.sides, workspace)
    _ = evaluator.figures  # says now what cannot be measured
    return evaluator


def _evaluator_of(run: RunDirectory, config: Config, part: RowTable, workspace: pathlib.Path) -> Evaluator:
    """Another run's model on the data of this one."""
    config = _on_data_of(config, run)
    return _evaluator(config, part, workspace, load(config, run))


def _on_data_of(config: Config, run: RunDirectory) -> Config:
    """How another run was made, on the data of this one."""
    return dataclasses.replace(run.config(), data=config.data)


def _untrained(
    config: Config, run: RunDirectory, table: RowTable, split: str, workspace: pathlib.Path
) -> tuple[EmbeddingSet, EmbeddingSet]:
    """A split, images and texts, embedded with the run's first weights."""
    rows = table.split("train")
    sides = sides_of(config, methods.load(config.method).sides, rows, read_kept(config, run))
    method = fresh(config, sides, rows.num_labels)
    start_heads(config, run, rows, sides, method)
    folder = workspace.with_name(f"{workspace.name}-untrained")
    embedded = Evaluator(config, table.split(split), method, sides, folder).embed()
    return embedded["image"], embedded["text"]


def _other(against: str, evaluator: Evaluator) -> RunDirectory | None:
    """The run to compare with, if any."""
    if not against:
        return None
    other = RunDirectory.existing(against)
    if {"text"} - set(evaluator.protocol.sides) or {"text"} - set(methods.load(other.config().method).sides):
        raise UserError("--against compares recalls both ways, and one of the runs has no texts; leave it away.")
    return other


def _beside(
    linear: Baseline,
    evaluator: Evaluator,
    measured: Measured,
    split: str,
    workspace: pathlib.Path,
    ties: Ties,
    name: str,
) -> list[Section]:
    """Puts the figures of a linear baseline beside those of a run; with texts also how they differ."""
    second = linear.measure(evaluator.protocol, split, workspace.with_name(f"{workspace.name}-linear"), ties)
    measured.results.update({f"{linear.kind}/{figure}": value for figure, value in second.scalars.items()})
    if second.texts is None or "rsum" not in measured.results:
        return []
    difference = _compared(measured, second, ties)
    measured.results.update({f"{linear.kind}/difference": difference.mean, f"{linear.kind}/p": difference.p})
    return [paired.comparison_section(difference, name, TITLES[linear.kind])]


def _compared(measured: Measured, second: Measured, ties: Ties) -> metrics.Difference:
    """What the paired bootstrap says of two evaluations of one split."""
    assert measured.texts is not None
    assert second.texts is not None
    return paired.compare(
        (measured.images, measured.texts, measured.score),
        (second.images, second.texts, second.score),
        measured.relevance,
        ties=ties,
    )
