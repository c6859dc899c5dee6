"""The jobs behind the commands: train and export a run. Evaluation has a file of its own."""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from xmkeras import methods
from xmkeras.config import Config, refuse_not_taken
from xmkeras.data.batches import TrainingBatches
from xmkeras.data.rows import RowTable
from xmkeras.errors import UserError
from xmkeras.files import write_atomically
from xmkeras.method import Method
from xmkeras.models.image import set_synchronized
from xmkeras.retrieval import metrics, verdict
from xmkeras.retrieval.embeddings import EmbeddingSet
from xmkeras.run import initial
from xmkeras.run.assembly import load_table, sampler_of, stages_of
from xmkeras.run.caches import readers_of
from xmkeras.run.directory import RunDirectory
from xmkeras.run.evaluator import Evaluator
from xmkeras.run.head_start import start_heads
from xmkeras.run.sides import Side, check_table, read_kept, requests_of, sides_of
from xmkeras.run.trained import fresh, load, set_policy, used_checkpoint
from xmkeras.run.validation import Validation
from xmkeras.serving.saved_model import export_saved_model
from xmkeras.training.checkpoints import Checkpoints
from xmkeras.training.groups import Stage
from xmkeras.training.loop import Batches, Result, Trainer
from xmkeras.training.monitor import Monitor
from xmkeras.training.strategy import make_strategy, set_threads


def train(config: Config, run: RunDirectory) -> Result:
    """Trains a run, or continues it.

    Raises:
        UserError: data, flags, devices or the run directory do not fit, a loss is not finite, or the disk is full.
    """
    set_threads(config.train.intra_op_threads)
    strategy = make_strategy(config.train.devices)
    set_policy(config, config.train.precision)
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
            method = fresh(config, sides, rows.num_labels)
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
    state = used_checkpoint(config, run).state
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


def _with_best_metric(config: Config, evaluator: Evaluator) -> Config:
    """With --best_metric as it is, or the protocol's own; checked before anything is trained."""
    best, known = config.train.best_metric or evaluator.protocol.best_metric, evaluator.figures
    if best not in known:
        raise UserError(f"--best_metric={best} is not measured here; choose one of {', '.join(known)}.")
    return dataclasses.replace(config, train=dataclasses.replace(config.train, best_metric=best))


def _names(rows: RowTable, numbers: Sequence[int] | np.ndarray, most: int = 8) -> str:
    names = [rows.image_ids[int(number)] for number in numbers]
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
