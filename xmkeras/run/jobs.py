"""The jobs behind the commands: train, load, evaluate and export a run."""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from xmkeras import methods
from xmkeras.config import Config, refuse_not_taken
from xmkeras.data.batches import TrainingBatches
from xmkeras.data.rows import RowTable
from xmkeras.errors import UserError
from xmkeras.files import writable, write_atomically
from xmkeras.method import Method
from xmkeras.models.image import set_synchronized
from xmkeras.retrieval import metrics, paired, verdict
from xmkeras.retrieval.embeddings import EmbeddingSet
from xmkeras.retrieval.measured import Measured, Show
from xmkeras.retrieval.report import Section, write_report
from xmkeras.retrieval.tables import write_eval
from xmkeras.retrieval.tally import Ties
from xmkeras.run import initial
from xmkeras.run.assembly import build_method, freeze, load_table, sampler_of, stages_of
from xmkeras.run.baselines import TITLES, Baseline
from xmkeras.run.caches import readers_of
from xmkeras.run.directory import RunDirectory
from xmkeras.run.evaluator import Evaluator
from xmkeras.run.head_start import start_heads
from xmkeras.run.sides import Side, check_table, kept_sides, read_kept, requests_of, sides_of
from xmkeras.run.validation import Validation
from xmkeras.serving.saved_model import export_saved_model
from xmkeras.training.checkpoints import Checkpoint, Checkpoints, restore, used_weights
from xmkeras.training.groups import Stage
from xmkeras.training.loop import Batches, Result, Trainer
from xmkeras.training.monitor import Monitor
from xmkeras.training.strategy import make_strategy, set_threads


class Loaded(NamedTuple):
    """A trained run: its method with the weights that are used, the step they are of, and its sides."""

    method: Method
    step: int
    sides: dict[str, Side]


def train(config: Config, run: RunDirectory) -> Result:
    """Trains a run, or continues it.

    Raises:
        UserError: data, flags, devices or the run directory do not fit, a loss is not finite, or the disk is full.
    """
    set_threads(config.train.intra_op_threads)
    strategy = make_strategy(config.train.devices)
    _set_policy(config, config.train.precision)
    table = load_table(config)
    with run.locked():
        if not config.train.resume:
            run.clear()
        config = run.continued(config)
        rows = table.split("train")
        kept = read_kept(config, run) or (initial.kept_words(config.train.init_from) if config.train.init_from else {})
        sides = sides_of(config, methods.load(config.method).sides, rows, kept)
        refuse_not_taken(config, [side.kind for side in sides.values()])
        run.open(config, table.fingerprint(), table.credit)
        write_atomically(run.inputs_file, json.dumps({name: side.kept for name, side in sides.items()}, indent=0))
        with strategy.scope():
            method = _fresh(config, sides, rows.num_labels)
        if config.train.init_from and not Checkpoints(run.checkpoints).steps():
            initial.begin_with(method, config.train.init_from, use_best=config.train.use_best)
        if config.train.synchronized_batch_norm and strategy.num_replicas_in_sync > 1:
            for part in method.towers.named_parts.values():
                set_synchronized(part, True)
        return _train(config, run, table, sides, method, strategy)


def _train(
    config: Config,
    run: RunDirectory,
    table: RowTable,
    sides: Mapping[str, Side],
    method: Method,
    strategy: tf.distribute.Strategy,
) -> Result:
    rows = table.split("train")
    sampler = sampler_of(config, rows)
    if not config.train.init_from and Checkpoints(run.checkpoints).latest() is None:
        start_heads(config, run, rows, sides, method)
    with Monitor(run.path, batch_size=config.train.batch_size, steps_per_epoch=sampler.steps_per_epoch) as monitor:
        evaluator, validation = None, None
        if "validation" in table.split_names:
            evaluator = Evaluator(config, table.split("validation"), method, sides, run.embeddings("validation"))
            config = _with_best_metric(config, evaluator)
            validation = Validation(evaluator, monitor)

        def batches_of(stage: Stage, bad_rows: Sequence[int]) -> Batches:
            if evaluator is not None:
                # A moving average of the weights may differ from what is frozen now, and evaluation uses the average.
                kept = not config.train.ema
                evaluator.readers = readers_of(config, run, evaluator.table, sides, method, training=False, cached=kept)
            batches = TrainingBatches(
                rows,
                sampler,
                readers_of(config, run, rows, sides, method, training=True),
                max_bad_rows=config.data.max_bad_rows,
            )
            batches.bad_rows = list(bad_rows)
            return batches

        trainer = Trainer(
            method,
            stages_of(config),
            steps_per_epoch=sampler.steps_per_epoch,
            batches_of=batches_of,
            evaluate=validation,
            options=config.train,
            strategy=strategy,
            checkpoints=Checkpoints(run.checkpoints),
            monitor=monitor,
            describe_rows=lambda numbers: _names(rows, numbers),
            lower_is_better=metrics.lower_is_better,
        )
        result = trainer.run()
        if validation is not None:
            validation.write_projector()
            result = dataclasses.replace(result, doubt=_doubt(result, validation))
    return result


def _doubt(result: Result, validation: Validation) -> str:
    """What is to be told of a run that has ended; "" for nothing."""
    value = None if result.best_step is None else result.best_value
    state = {"best_value": value, "best_metric": result.best_metric, "chance": result.chance}
    return " ".join(filter(None, (_validation_doubt(state), validation.doubt)))


def load(config: Config, run: RunDirectory) -> Loaded:
    """A trained run with the weights that evaluation and export use.

    Raises:
        UserError: the run has no checkpoint yet.
    """
    checkpoint = _used_checkpoint(config, run)
    _set_policy(config, "float32")  # whatever the towers were trained in: the master weights are float32
    sides = kept_sides(config, read_kept(config, run))
    method = build_method(config, sides, checkpoint.state["num_labels"])
    restore(method.named_variables(), used_weights(checkpoint))
    return Loaded(method, checkpoint.step, sides)


def _used_checkpoint(config: Config, run: RunDirectory) -> Checkpoint:
    """The best checkpoint, or the last one, as the config says."""
    checkpoints = Checkpoints(run.checkpoints)
    checkpoint = (checkpoints.best() if config.train.use_best else None) or checkpoints.latest()
    if checkpoint is None:
        raise UserError(f"{run.path} has no checkpoint yet; let `python -m xmkeras.train` run to its first evaluation.")
    return checkpoint


def measure(config: Config, run: RunDirectory, split: str = "test", *, cached: bool = False) -> tuple[Measured, int]:
    """What `evaluate` measures, without a report, and the step of the weights.

    With `cached`, what the fronts make that the last stage did not train is kept and read as it is in training, which
    many runs over one split share.
    """
    part, loaded = load_table(config).split(split), load(config, run)
    evaluator = _evaluator(config, part, run.embeddings(split), loaded)
    if cached:
        freeze(config, loaded.method, stages_of(config)[-1])
        # As in training: averages of frozen weights may differ from them by rounding.
        kept = not config.train.ema
        evaluator.readers = readers_of(config, run, part, loaded.sides, loaded.method, training=False, cached=kept)
    return evaluator.measure(), loaded.step


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
        looks=evaluator.looks,
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


def export(
    config: Config,
    run: RunDirectory,
    gallery: str = "none",
    *,
    top_k: int = 10,
    rerank: int = 0,
    output: str = "",
    tokenizer: str = "core",
) -> pathlib.Path:
    """Writes `saved_model/1` of a trained run, with the images and texts of split `gallery` packed for search.

    `rerank` is for methods that score pairs, see `xmkeras.serving.scoring.Pairs`; `tokenizer` is "core" or "tf_text",
    see `xmkeras.serving.inputs.exported_tokenizer`.

    Returns:
        The folder of the SavedModel.

    Raises:
        UserError: the run has no checkpoint, the gallery's data are missing, the tokenizer cannot be had, or the disk
            is full.
    """
    with run.workspace(gallery) as folder:
        return _exported(config, run, gallery, folder, top_k, rerank, output, tokenizer)


def _exported(
    config: Config,
    run: RunDirectory,
    gallery: str,
    workspace: pathlib.Path,
    top_k: int,
    rerank: int,
    output: str,
    tokenizer: str,
) -> pathlib.Path:
    method, _, sides = load(config, run)
    state = _used_checkpoint(config, run).state
    galleries: dict[str, EmbeddingSet] = {}
    files: dict[str, str] = {}
    if gallery != "none":
        table = load_table(config).split(gallery)
        check_table(sides, config, table)
        evaluator = Evaluator(config, table, method, sides, workspace)
        galleries = evaluator.embed(named=True)
        paths = table.image_paths
        if paths is not None:
            files = {table.image_ids[row]: os.path.abspath(paths[row]) for row in table.distinct_images()}
    towers = method.retrieval_towers
    return export_saved_model(
        towers.folded() if config.train.fold_batch_norm else towers,
        output or run.path,
        inputs=requests_of(sides, tokenizer),
        similarity=method.similarity,
        score=method.score,
        heads=method.score_heads if method.similarity == "pairs" else {},
        galleries=galleries,
        gallery_split=gallery if galleries else "",
        gallery_files=files,
        top_k=top_k,
        rerank=rerank,
        credit=run.credit(),
        doubt=" ".join(filter(None, (_validation_doubt(state), verdict.of_sets(galleries, method.similarity)))),
    )


def _validation_doubt(state: Mapping[str, Any]) -> str:
    """What the best value on the validation split says, by the state of a checkpoint; "" for nothing."""
    name = str(state.get("best_metric"))
    figures = {name: state.get("best_value"), f"chance/{name}": state.get("chance")}
    known = {key: float(value) for key, value in figures.items() if value is not None}
    return verdict.at_chance(known, name)


def _set_policy(config: Config, precision: str) -> None:
    keras.config.set_dtype_policy(precision)
    keras.utils.set_random_seed(config.train.seed)
    if config.train.deterministic:
        tf.config.experimental.enable_op_determinism()


def _fresh(config: Config, sides: Mapping[str, Side], num_labels: int) -> Method:
    """The method with the run's first weights, the same at each call."""
    keras.utils.set_random_seed(config.train.seed)
    return build_method(config, sides, num_labels)


def _with_best_metric(config: Config, evaluator: Evaluator) -> Config:
    """With --best_metric as it is, or the protocol's own; checked before anything is trained."""
    best, known = config.train.best_metric or evaluator.protocol.best_metric, evaluator.figures
    if best not in known:
        raise UserError(f"--best_metric={best} is not measured here; choose one of {', '.join(known)}.")
    return dataclasses.replace(config, train=dataclasses.replace(config.train, best_metric=best))


def _evaluator(config: Config, part: RowTable, workspace: pathlib.Path, loaded: Loaded) -> Evaluator:
    check_table(loaded.sides, config, part)
    evaluator = Evaluator(config, part, loaded.method, loaded.sides, workspace)
    _ = evaluator.figures  # says now what cannot be measured
    return evaluator


def _evaluator_of(run: RunDirectory, config: Config, part: RowTable, workspace: pathlib.Path) -> Evaluator:
    """Another run's model on the data of this one."""
    config = dataclasses.replace(run.config(), data=config.data)
    return _evaluator(config, part, workspace, load(config, run))


def _untrained(
    config: Config, run: RunDirectory, table: RowTable, split: str, workspace: pathlib.Path
) -> tuple[EmbeddingSet, EmbeddingSet]:
    """A split, images and texts, embedded with the run's first weights."""
    rows = table.split("train")
    sides = sides_of(config, methods.load(config.method).sides, rows, read_kept(config, run))
    method = _fresh(config, sides, rows.num_labels)
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


def _names(rows: RowTable, numbers: Sequence[int] | np.ndarray, most: int = 8) -> str:
    names = [rows.image_ids[int(number)] for number in numbers]
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
