"""Puts the parts of a run together: a config becomes a table, a tokenizer, a method, stages and batches."""

from __future__ import annotations

import dataclasses
import inspect
import os
import pathlib
import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from xmkeras.config import Config
from xmkeras.data.batches import TrainingBatches
from xmkeras.data.feature_batches import FeatureBatches, feature_columns
from xmkeras.data.images import parse_augmentation
from xmkeras.data.minilm import model_folder
from xmkeras.data.rows import RowTable
from xmkeras.data.sampling import PairSampler
from xmkeras.data.sources import SourceOptions, load_source
from xmkeras.data.text import Tokenizer, Vocabulary
from xmkeras.data.token_vectors import TokenVectors
from xmkeras.data.word_vectors import WordVectors, matrix
from xmkeras.data.wordpiece import WordPieceTokenizer
from xmkeras.errors import UserError
from xmkeras.flags import load_method
from xmkeras.method import Method
from xmkeras.models.bert import Bert
from xmkeras.models.bert_weights import load_bert
from xmkeras.models.features import FeatureInputs, build_feature_towers
from xmkeras.models.towers import Towers, build_towers
from xmkeras.training.groups import Stage, parse_stage


def data_root(config: Config) -> pathlib.Path:
    """The folder of downloaded and prepared data."""
    return pathlib.Path(config.data.data_dir or os.environ.get("XMKERAS_DATA") or "~/.cache/xmkeras").expanduser()


def load_table(config: Config) -> RowTable:
    """All rows of the run's data set, with the labels that training asks for.

    Raises:
        UserError: the data are missing or broken, or the source is unknown.
    """
    known = {field.name for field in dataclasses.fields(SourceOptions)}
    chosen = {name: value for name, value in dataclasses.asdict(config.data).items() if name in known}
    chosen |= {"data_dir": str(data_root(config)), "seed": config.data.split_seed}
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


def image_size(config: Config) -> tuple[int, int]:
    """(height, width) in pixels of `--image_size=SIDE` or `HEIGHTxWIDTH`."""
    match = re.fullmatch(r"(\d+)(?:x(\d+))?", config.data.image_size)
    if match is None or int(match[1]) < 1:
        raise UserError(f"--image_size={config.data.image_size} is neither a side, 224, nor HEIGHTxWIDTH, 256x128.")
    return int(match[1]), int(match[2] or match[1])


def captions_of(table: RowTable) -> list[str]:
    """Every caption of every row, in order."""
    return [caption for captions in table.captions for caption in captions]


def build_vocabulary(config: Config, train: RowTable, vectors: WordVectors | None) -> Vocabulary:
    """The words of the training captions, and those that have a pretrained vector."""
    extra = vectors.words if vectors is not None else ()
    return Vocabulary.build(captions_of(train), min_count=config.data.min_count, extra_words=extra)


def feature_inputs(train: RowTable) -> FeatureInputs:
    """What the towers over a training split of feature pairs take."""
    columns = feature_columns(train)
    examples = columns["image_features"], columns["text_features"]
    return FeatureInputs((examples[0].shape[1], examples[1].shape[1]), examples)


def bert_of(config: Config) -> Bert:
    """The BERT of `--bert`.

    Raises:
        UserError: it cannot be read, or its texts are shorter than --max_tokens.
    """
    source = config.model.bert
    bert = load_bert(str(model_folder()) if source == "minilm" else source)
    if config.data.max_tokens > bert.config.positions:
        raise UserError(
            f"--max_tokens={config.data.max_tokens} is more than the {bert.config.positions} tokens of --bert={source}."
        )
    return bert


def build_method(
    config: Config, inputs: Vocabulary | Bert | FeatureInputs, num_labels: int, vectors: WordVectors | None = None
) -> Method:
    """Towers and method with fresh weights, over images and texts or over feature vectors, as `inputs` says.

    Call it inside the strategy's scope.
    """
    towers = (
        build_feature_towers(inputs, seed=config.train.seed, **_options_of(build_feature_towers, config))
        if isinstance(inputs, FeatureInputs)
        else _word_towers(config, inputs, vectors)
    )
    method_class = load_method(config.method)
    method: Method = method_class(towers, method_class.Params(**config.method_params), num_labels)
    return method


def _word_towers(config: Config, inputs: Vocabulary | Bert, vectors: WordVectors | None) -> Towers:
    options = _options_of(build_towers, config) | {"bert": None, "word_vectors": None}
    tokenizer: Tokenizer | WordPieceTokenizer
    if isinstance(inputs, Bert):
        options["bert"] = inputs
        tokenizer = WordPieceTokenizer(
            inputs.vocabulary,
            lower_case=inputs.lower_case,
            strip_accents=inputs.strip_accents,
            max_tokens=config.data.max_tokens,
        )
    else:
        options["word_vectors"] = None if vectors is None else matrix(vectors, inputs)
        tokenizer = Tokenizer(inputs, max_tokens=config.data.max_tokens)
    return build_towers(tokenizer=tokenizer, image_size=image_size(config), seed=config.train.seed, **options)


def _options_of(build: Callable[..., Any], config: Config) -> dict[str, Any]:
    """The fields of the model's config that a builder of towers takes."""
    taken = inspect.signature(build).parameters
    return {name: value for name, value in dataclasses.asdict(config.model).items() if name in taken}


def stages_of(config: Config) -> list[Stage]:
    """The stages of `--stage`, or the one that --epochs or --steps describes."""
    train = config.train
    if train.stage:
        return [parse_stage(text) for text in train.stage]
    length = f"steps={train.steps}" if train.steps else f"epochs={train.epochs}"
    return [parse_stage(length)]


def steps_per_epoch(config: Config, train: RowTable) -> int:
    """Steps of one epoch over the training split."""
    return sampler_of(config, train).steps_per_epoch


def sampler_of(config: Config, train: RowTable) -> PairSampler:
    """The order of training examples."""
    counts = np.array([len(captions) for captions in train.captions])
    return PairSampler(
        counts,
        batch_size=config.train.batch_size,
        seed=config.train.seed,
        epoch_over=config.data.epoch_over,
        captions_per_image=config.data.captions_per_image,
        labels=train.labels,
    )


def batches_of(
    config: Config,
    train: RowTable,
    method: Method,
    features: np.ndarray | None,
    bad_rows: Sequence[int],
    *,
    tokens: TokenVectors | None = None,
) -> TrainingBatches | FeatureBatches:
    """The training batches.

    `features` (n, f) or (n, views, f) replace the images where a frozen backbone cached them, and `tokens` the captions
    where a frozen BERT did.
    """
    if train.text_features is not None:
        return FeatureBatches(train, sampler_of(config, train))
    batches = TrainingBatches(
        train,
        sampler_of(config, train),
        image_size=image_size(config),
        tokenize=method.towers.tokenizer,
        augmentation=parse_augmentation(config.data.augment),
        seed=config.train.seed,
        max_bad_rows=config.data.max_bad_rows,
        features=features,
        tokens=tokens,
    )
    batches.bad_rows = list(bad_rows)
    return batches
