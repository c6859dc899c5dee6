"""Puts the parts of a run together: a config becomes a table, a method, stages, a sampler."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from xmkeras import methods
from xmkeras.config import Config
from xmkeras.data.roles import parse_columns
from xmkeras.data.rows import RowTable
from xmkeras.data.sampling import ClassSampler, PairSampler, Sampler
from xmkeras.data.sources import SourceOptions, load_source
from xmkeras.errors import UserError, refuse
from xmkeras.method import Method
from xmkeras.models.encoder import Encoder, Towers
from xmkeras.run.directory import data_root
from xmkeras.run.sides import Side
from xmkeras.training.freezing import Freezer
from xmkeras.training.groups import Stage, parse_group, parse_stage


def load_table(config: Config, fault: Callable[[str], None] = refuse) -> RowTable:
    """All rows of the run's data set, with the labels that training asks for.

    Args:
        config: of the run.
        fault: is told of each row of a table that is broken, and leaves it out unless it raises.

    Raises:
        UserError: the data are missing or broken, or the source is unknown.
    """
    known = {field.name for field in dataclasses.fields(SourceOptions)}
    chosen = {name: value for name, value in dataclasses.asdict(config.data).items() if name in known}
    chosen |= {"data_dir": str(data_root(config)), "seed": config.data.split_seed}
    chosen["columns"] = parse_columns(config.data.columns)
    chosen["fault"] = fault
    chosen["captions"] = "text" in methods.load(config.method).sides
    table = load_source(config.data.source, SourceOptions(**chosen))
    return one_label_an_image(table) if config.data.labels == "image" else table


def one_label_an_image(table: RowTable) -> RowTable:
    """The same rows with every distinct image as its own label, those of the training split first."""
    train_first = np.argsort(table.splits != "train", kind="stable")
    _, first = np.unique(table.image_index[train_first], return_index=True)
    order = table.image_index[train_first][np.sort(first)]
    number = np.empty(int(table.image_index.max()) + 1, np.int64)
    number[order] = np.arange(len(order))
    names = {int(image): name for image, name in zip(table.image_index, table.image_ids, strict=True)}
    return dataclasses.replace(
        table,
        label_kind="image",
        labels=number[table.image_index],
        label_names=[names[int(image)] for image in order],
    )


def build_method(config: Config, sides: Mapping[str, Side], num_labels: int) -> Method:
    """Towers and method with fresh weights; call it inside the strategy's scope.

    Raises:
        UserError: the method asks for what an encoder has not.
    """
    method_class = methods.load(config.method)
    params = method_class.Params(**config.method_params)
    asked = method_class.encoder_options(params)
    # In the order of the sides, in which initial weights are drawn.
    towers = Towers({name: _encoder(config, sides[name], asked.get(name, {})) for name in method_class.sides})
    method: Method = method_class(towers, params, num_labels)
    if method_class.score is not Method.score and method.similarity != "pairs":
        raise TypeError(f"{method_class.__name__}.score is its own, so its similarity has to be 'pairs'")
    return method


def _encoder(config: Config, side: Side, asked: Mapping[str, Any]) -> Encoder:
    """An encoder of a side with what the method asks of it."""
    if unknown := asked.keys() - inspect.signature(side.encoder).parameters:
        raise UserError(
            f"--method={config.method} with these options asks its encoder for {min(unknown)}, which {side.kind} have "
            f"not; give inputs of another kind, or other --{config.method} options."
        )
    return side.encoder(**asked)


def stages_of(config: Config) -> list[Stage]:
    """The stages of `--stage`, or the one that --epochs or --steps describes."""
    train = config.train
    if train.stage:
        return [parse_stage(text) for text in train.stage]
    length = f"steps={train.steps}" if train.steps else f"epochs={train.epochs}"
    return [parse_stage(length)]


def freeze(config: Config, method: Method, stage: Stage) -> Freezer:
    """Makes untrainable what a stage of a run does not train; `freeze(())` of the result takes it back."""
    freezer = Freezer(method)
    freezer.freeze(stage.groups([parse_group(text) for text in config.train.group]))
    return freezer


def sampler_of(config: Config, train: RowTable) -> Sampler:
    """The order of training examples."""
    counts = np.array([len(captions) for captions in train.captions])
    common = {"batch_size": config.train.batch_size, "seed": config.train.seed}
    _check_sampler(config, train)
    if config.data.sampler == "pairs":
        return PairSampler(
            counts,
            epoch_over=config.data.epoch_over,
            captions_per_image=config.data.captions_per_image,
            labels=train.labels,
            **common,
        )
    of_each = 1 if config.data.sampler == "one_per_class" else config.data.images_per_class
    return ClassSampler(counts, train.labels, images=train.image_index, images_per_class=of_each, **common)


def _check_sampler(config: Config, train: RowTable) -> None:
    """Refuses what the chosen sampler has no use for."""
    data, name = config.data, config.data.sampler
    if name != "pairs" and (data.epoch_over, data.captions_per_image) != ("pairs", 1):
        raise UserError(f"--epoch_over and --captions_per_image are for --sampler=pairs, not {name}; leave them away.")
    if name == "classes" and train.label_kind == "image":
        raise UserError(
            f"--sampler=classes wants images that share a label, and each of {train.name} has its own; choose pairs."
        )
