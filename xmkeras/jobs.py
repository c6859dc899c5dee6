"""The jobs behind the commands: train, evaluate and export a run."""

from __future__ import annotations

import dataclasses
import os
import pathlib
from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf

from xmkeras import assembly
from xmkeras.config import Config
from xmkeras.data.rows import RowTable
from xmkeras.data.text import Vocabulary
from xmkeras.data.word_vectors import WordVectors, load_word_vectors
from xmkeras.errors import UserError
from xmkeras.evaluation import Evaluator, Measured
from xmkeras.feature_report import feature_sections
from xmkeras.files import write_atomically
from xmkeras.method import Method
from xmkeras.models.bert import Bert
from xmkeras.models.features import FeatureInputs, FeatureTowers
from xmkeras.models.image import set_synchronized
from xmkeras.retrieval.embeddings import EmbeddingSet
from xmkeras.retrieval.ranking import Ties
from xmkeras.retrieval.report import write_eval, write_report
from xmkeras.run import RunDirectory
from xmkeras.serving.feature_export import export_feature_model
from xmkeras.serving.saved_model import export_saved_model
from xmkeras.stage_features import stage_features
from xmkeras.training.checkpoints import Checkpoints, restore
from xmkeras.training.groups import Stage
from xmkeras.training.loop import Batches, Result, Trainer
from xmkeras.training.monitor import Monitor
from xmkeras.training.strategy import make_strategy, set_threads
from xmkeras.validation import Validation


def train(config: Config, run: RunDirectory) -> Result:
    """Trains a run, or continues it.

    Raises:
        UserError: data, flags, devices or the run directory do not fit, a loss is not finite, or the disk is full.
    """
    set_threads(config.train.intra_op_threads)
    strategy = make_strategy(config.train.devices)
    _seed(config, config.train.precision)
    table = assembly.load_table(config)
    vectors = load_word_vectors(config.model.word_vectors, assembly.data_root(config))
    if vectors is not None:
        config = dataclasses.replace(config, model=dataclasses.replace(config.model, word_dim=vectors.dim))
    with run.locked():
        if not config.train.resume:
            run.clear()
        run.open(config, table.fingerprint(), table.credit)
        return _train(config, run, table, vectors, strategy)


def _train(
    config: Config, run: RunDirectory, table: RowTable, vectors: WordVectors | None, strategy: tf.distribute.Strategy
) -> Result:
    rows = table.split("train")
    inputs = _inputs(config, run, rows, vectors)
    with strategy.scope():
        method = assembly.build_method(config, inputs, rows.num_labels, vectors)
    if config.train.synchronized_batch_norm and strategy.num_replicas_in_sync > 1:
        for part in method.towers.named_parts.values():
            set_synchronized(part, True)
    steps_per_epoch = assembly.steps_per_epoch(config, rows)
    with Monitor(run.path, batch_size=config.train.batch_size, steps_per_epoch=steps_per_epoch) as monitor:
        evaluator, validation = None, None
        if "validation" in table.split_names:
            evaluator = Evaluator(config, table.split("validation"), method, run.embeddings("validation"))
            validation = Validation(evaluator, monitor)

        # A moving average of the weights may differ from what is frozen now, and evaluation uses the average.
        cached = None if evaluator is None or config.train.ema else evaluator

        def batches_of(stage: Stage, bad_rows: Sequence[int]) -> Batches:
            features = stage_features(config, run, rows, method, None if cached is None else cached.table)
            if cached is not None:
                cached.read(features.validation_images, features.tokens)
            return assembly.batches_of(config, rows, method, features.images, bad_rows, tokens=features.tokens)

        trainer = Trainer(
            method,
            assembly.stages_of(config),
            steps_per_epoch=steps_per_epoch,
            batches_of=batches_of,
            evaluate=validation,
            options=config.train,
            strategy=strategy,
            checkpoints=Checkpoints(run.checkpoints),
            monitor=monitor,
            describe_rows=lambda numbers: _names(rows, numbers),
        )
        result = trainer.run()
        if validation is not None:
            validation.write_projector()
    return result


def load_method(config: Config, run: RunDirectory) -> tuple[Method, int]:
    """The method of a trained run with the weights that evaluation and export use, and their step.

    Raises:
        UserError: the run has no checkpoint yet.
    """
    checkpoints = Checkpoints(run.checkpoints)
    checkpoint = (checkpoints.best() if config.train.use_best else None) or checkpoints.latest()
    if checkpoint is None:
        raise UserError(f"{run.path} has no checkpoint yet; let `python -m xmkeras.train` run to its first evaluation.")
    _seed(config, "float32")  # whatever the towers were trained in: the master weights are float32
    weights = {n.removeprefix("weights/"): a for n, a in checkpoint.tensors.items() if n.startswith("weights/")}
    averages = {n.removeprefix("average/"): a for n, a in checkpoint.tensors.items() if n.startswith("average/")}
    # The checkpoint holds all weights, so those that training started from are neither needed nor looked for.
    config = dataclasses.replace(config, model=dataclasses.replace(config.model, image_weights="none"))
    method = assembly.build_method(config, _kept_inputs(run), checkpoint.state["num_labels"])
    named = method.named_variables()
    restore(named, weights | {name: averages[name] for name in averages if name in named})
    return method, checkpoint.step


def evaluate(
    config: Config, run: RunDirectory, split: str = "test", *, ties: Ties = "pessimistic", output: str = ""
) -> tuple[Measured, pathlib.Path]:
    """Measures a trained run on one split and writes `eval.json`, `report.md` and its pictures.

    Args:
        config: of the run; its data may be another set's.
        run: the run.
        split: "train", "validation" or "test".
        ties: see `xmkeras.retrieval.ranking.ranks`.
        output: directory of the report; empty for the run's own.

    Returns:
        What was measured, and the path of the report.

    Raises:
        UserError: the run has no checkpoint, or the split's data are missing.
    """
    method, step = load_method(config, run)
    table = assembly.load_table(config).split(split)
    evaluator = Evaluator(config, table, method, run.embeddings(split))
    measured = evaluator.measure(ties)
    folder = pathlib.Path(output) if output else run.path
    folder.mkdir(parents=True, exist_ok=True)
    sections = feature_sections(config, run, split, measured) if evaluator.thumbnail is None else []
    about = {"split": split, "step": step, "ties": ties, "data": table.name, "run": str(run.path)}
    write_eval(folder / "eval.json", about | measured.results)
    report = write_report(
        folder,
        title=f"{run.path.name}: {split} split of {table.name}",
        notes=f"Weights of step {step:,}; `flags.cfg` of the run trains them again.",
        results=measured.results,
        ranked=measured.ranked,
        images=measured.images,
        texts=measured.texts,
        captions=measured.captions,
        thumbnail=evaluator.thumbnail,
        metrics_csv=run.path / "metrics.csv",
        relevance=measured.relevance,
        score=evaluator.score,
        sections=sections,
        credit=table.credit,
    )
    return measured, report


def export(
    config: Config,
    run: RunDirectory,
    gallery: str = "none",
    *,
    top_k: int = 10,
    output: str = "",
    tokenizer: str = "core",
) -> pathlib.Path:
    """Writes `saved_model/1` of a trained run, with the images of split `gallery` packed for search.

    `tokenizer` is "core" or "tf_text", see `xmkeras.serving.saved_model.export_saved_model`.

    Returns:
        The folder of the SavedModel.

    Raises:
        UserError: the run has no checkpoint, the gallery's data are missing, the tokenizer cannot be had, or the disk
            is full.
    """
    method, _ = load_method(config, run)
    packed, texts, files = None, None, {}
    if gallery != "none":
        table = assembly.load_table(config).split(gallery)
        packed, texts = Evaluator(config, table, method, run.embeddings(gallery)).embed()
        files = {table.image_ids[row]: os.path.abspath(path) for row, path in _image_paths(table).items()}
    if isinstance(method.retrieval_towers, FeatureTowers):
        if texts is not None:
            texts = EmbeddingSet(np.array(assembly.captions_of(table)), texts.labels, texts.vectors)
        return export_feature_model(
            method.retrieval_towers,
            output or run.path,
            distance=method.distance,
            images=packed,
            texts=texts,
            gallery_split="" if packed is None else gallery,
            top_k=top_k,
            credit=run.credit(),
        )
    return export_saved_model(
        method.towers,
        output or run.path,
        image_size=assembly.image_size(config),
        embedding_dim=config.model.embedding_dim,
        gallery=packed,
        gallery_split="" if packed is None else gallery,
        gallery_files=files,
        top_k=top_k,
        credit=run.credit(),
        tokenizer=tokenizer,
    )


def _image_paths(table: RowTable) -> dict[int, str]:
    """The image file of each distinct image's first row; none where images do not lie in files of their own."""
    paths = table.image_paths
    return {} if paths is None else {int(row): paths[row] for row in table.distinct_images()}


def _seed(config: Config, precision: str) -> None:
    keras.config.set_dtype_policy(precision)
    keras.utils.set_random_seed(config.train.seed)
    if config.train.deterministic:
        tf.config.experimental.enable_op_determinism()


def _inputs(
    config: Config, run: RunDirectory, rows: RowTable, vectors: WordVectors | None
) -> Vocabulary | Bert | FeatureInputs:
    """What the towers of a run take, kept in its directory."""
    if rows.text_features is not None:
        inputs = assembly.feature_inputs(rows)
        write_atomically(run.widths_file, inputs.to_json())
        return inputs
    if config.model.text_tower == "bert":
        bert = assembly.bert_of(config)
        write_atomically(run.bert_file, bert.to_json())
        return bert
    return _vocabulary(config, run, rows, vectors)


def _kept_inputs(run: RunDirectory) -> Vocabulary | Bert | FeatureInputs:
    if run.bert_file.is_file():
        return Bert.from_json(run.bert_file.read_text("utf-8"))
    if run.widths_file.is_file():
        return FeatureInputs.from_json(run.widths_file.read_text("utf-8"))
    return Vocabulary.load(run.vocabulary_file)


def _vocabulary(config: Config, run: RunDirectory, rows: RowTable, vectors: WordVectors | None) -> Vocabulary:
    if run.vocabulary_file.is_file():
        return Vocabulary.load(run.vocabulary_file)
    vocabulary = assembly.build_vocabulary(config, rows, vectors)
    vocabulary.save(run.vocabulary_file)
    return vocabulary


def _names(rows: RowTable, numbers: Sequence[int] | np.ndarray, most: int = 8) -> str:
    names = [rows.image_ids[int(number)] for number in numbers]
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
