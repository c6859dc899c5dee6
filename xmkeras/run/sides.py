"""What kind of input each side of a run has: the one file that asks, and what follows from the answer.

A new kind is a reader (`xmkeras.data.readers`), an encoder (`xmkeras.models`), an input (`xmkeras.serving.inputs`), and
here a function that names them, with its line in `KINDS` and in `kind_of`.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf
from absl import logging

from xmkeras.config import BERT, IMAGE_VECTORS, PICTURES, REGIONS, TEXT_VECTORS, WORDS, Config
from xmkeras.data import images, readers
from xmkeras.data.minilm import model_folder
from xmkeras.data.readers import Items, Reader
from xmkeras.data.release_tokens import find_vocabulary, read_vocabulary
from xmkeras.data.rows import RowTable
from xmkeras.data.stacked import Array
from xmkeras.data.text import Tokenizer, Vocabulary
from xmkeras.data.word_vectors import load_word_vectors, matrix
from xmkeras.data.wordpiece import WordPieceTokenizer
from xmkeras.errors import UserError
from xmkeras.models.bert import Bert
from xmkeras.models.bert_text import bert_text_encoder
from xmkeras.models.bert_weights import load_bert
from xmkeras.models.encoder import Encoder
from xmkeras.models.regions import region_encoder
from xmkeras.models.text import sequence_embedding, text_encoder
from xmkeras.models.towers import bert_encoder, picture_encoder, word_encoder
from xmkeras.models.vectors import vector_encoder
from xmkeras.run.directory import RunDirectory, data_root
from xmkeras.serving import inputs
from xmkeras.serving.tf_text_tokenizer import exported_tokenizer

Kept = dict[str, Any]
Thumbnail = Callable[[str], np.ndarray]
_LARGEST_SIDE = 4096  # of pictures, in pixels
_SHOWN = (224, 224)  # the photographs behind published regions
_VIEW_SEED = 0  # not the run's, so that runs with other seeds share the features; which view comes up is the run's


@dataclasses.dataclass(frozen=True)
class Side:
    """What makes the parts of one side of a run.

    Attributes:
        kind: of the input, one of `KINDS`.
        kept: what has to be known to make the side again, as JSON.
        encoder: makes an encoder, to be called inside the strategy's scope; takes what a method may ask of it by name.
        reader: makes the reader of a table, varied by augmentation for training.
        request: makes what a served model takes, with the tokenizer that `--export_tokenizer` names.
        views: the reader that a frozen front reads for training: of several views of each input, where they vary.
        thumbnail: shows the input of an image id; None where there is nothing to look at.
        words: what stands at each position of a text's entries, "" where that is no word; None where nobody could say.
    """

    kind: str
    kept: Kept
    encoder: Callable[..., Encoder]
    reader: Callable[[RowTable, bool], Reader]
    request: Callable[[str], inputs.Input]
    views: Callable[[RowTable], Views] | None = None
    thumbnail: Callable[[RowTable], Thumbnail | None] | None = None
    words: Callable[[str], list[str]] | None = None


class Views(NamedTuple):
    """A reader of so many views of each input, side by side; of one without that axis where the number is 0."""

    reader: Reader
    number: int


def kind_of(side: str, config: Config, table: RowTable) -> str:
    """The kind of a side's input.

    Raises:
        UserError: the data set has no such side.
    """
    if side == "image":
        if table.features is None:
            return PICTURES
        return REGIONS if table.features.ndim == 3 else IMAGE_VECTORS
    if table.text_features is not None:
        return TEXT_VECTORS
    if not any(table.captions):
        raise UserError(f"The data set {table.name} has no texts, which --method={config.method} needs beside images.")
    return BERT if config.model.text_tower == "bert" else WORDS


def sides_of(config: Config, names: Sequence[str], rows: RowTable, kept: Mapping[str, Kept]) -> dict[str, Side]:
    """The sides of a run over a training split, as they were `kept`, or made anew.

    Raises:
        UserError: an option that a side cannot have, or data that do not fit the run.
    """
    kinds = {name: kind_of(name, config, rows) for name in names}
    return {name: KINDS[kind](config, name, kept.get(name, {}), rows) for name, kind in kinds.items()}


def kept_sides(config: Config, kept: Mapping[str, Kept]) -> dict[str, Side]:
    """The sides of a trained run, whose weights a checkpoint brings."""
    return {name: KINDS[one["kind"]](config, name, one, None) for name, one in kept.items()}


def read_kept(config: Config, run: RunDirectory) -> dict[str, Kept]:
    """What a run has kept of its sides; {} where it has kept nothing yet."""
    if run.inputs_file.is_file():
        kept: dict[str, Kept] = json.loads(run.inputs_file.read_text("utf-8"))
        return kept
    return _kept_before(config, run)


def check_table(sides: Mapping[str, Side], config: Config, table: RowTable) -> None:
    """Raises UserError where a table has other inputs than those that a run was trained on."""
    for name, side in sides.items():
        if (other := kind_of(name, config, table)) != side.kind:
            raise UserError(
                f"The {name}s of {table.name} are {other}, and the run was trained on {side.kind}; choose another "
                "--source."
            )


def protocol_of(config: Config, sides: Mapping[str, Side], table: RowTable, similarity: str = "cosine") -> str:
    """The name of `--protocol`, or of the one that `auto` stands for with a method of that `similarity`."""
    if config.data.protocol != "auto":
        return config.data.protocol
    if "text" not in sides:
        return "zero_shot"
    # Reed's protocol averages embeddings of a class, of which a score of pairs knows nothing.
    if table.label_kind != "class" or similarity == "pairs":
        return "captions"
    return "vectors" if IMAGE_VECTORS in {side.kind for side in sides.values()} else "classes"


def requests_of(sides: Mapping[str, Side], tokenizer: str) -> dict[str, inputs.Input]:
    """What a served model takes of each side, with the tokenizer of that name in place of its own.

    Raises:
        UserError: no side reads sentences as that tokenizer does, or it cannot be had.
    """
    requests = {name: side.request(tokenizer) for name, side in sides.items()}
    if tokenizer != "core" and not any(isinstance(request, inputs.Sentences) for request in requests.values()):
        raise UserError(f"--export_tokenizer={tokenizer} is for a text tower with BERT; leave the flag away.")
    return requests


def _pictures(config: Config, side: str, kept: Kept, rows: RowTable | None) -> Side:
    size = tuple(kept.get("size") or image_size(config))
    augmentation = images.parse_augmentation(config.data.augment)
    options = _options(config, picture_encoder)
    if rows is None:
        options["image_weights"] = "none"  # a checkpoint holds all weights: the first ones are not even looked for

    def reader(table: RowTable, training: bool) -> Reader:
        return readers.Pictures(table, size, augmentation if training else images.Augmentation(), config.train.seed)

    def views(table: RowTable) -> Views:
        number = 2 if augmentation.only_flips else 1 + config.train.feature_views
        number = number if augmentation != images.Augmentation() else 0
        return Views(readers.Pictures(table, size, augmentation, _VIEW_SEED, number), number)

    about = {"kind": PICTURES, "size": list(size)}
    build = functools.partial(picture_encoder, size, **options)
    show = functools.partial(_thumbnail, size=size)
    return Side(PICTURES, about, build, reader, lambda _: inputs.ImageBytes(size), views, show)


def _thumbnail(table: RowTable, size: tuple[int, int]) -> Thumbnail:
    """Shows the pictures of a table as a model sees them."""
    row_of = {table.image_ids[row]: int(row) for row in table.distinct_images()}

    def show(image_id: str) -> np.ndarray:
        pixels = images.load(tf.constant(table.read_bytes(row_of[image_id])), size)
        shown: np.ndarray = tf.cast(tf.round(pixels), tf.uint8).numpy()
        return shown

    return show


def _vectors(config: Config, side: str, kept: Kept, rows: RowTable | None) -> Side:
    model = dataclasses.asdict(config.model)
    own = {"hidden": model[f"{side}_hidden"], "preprocessing": model[f"{side}_preprocessing"]}
    fitted = rows is not None and own["preprocessing"] not in ("", "none")
    examples = _array(side, rows)[_items(side, rows).place] if fitted else None
    width = kept.get("width") or int(_array(side, rows).shape[-1])

    def reader(table: RowTable, training: bool) -> Reader:
        return readers.Vectors(f"{side}_features", _array(side, table), _items(side, table))

    about: Kept = {"kind": IMAGE_VECTORS if side == "image" else TEXT_VECTORS, "width": width}
    build = functools.partial(vector_encoder, side, width, examples, **own, **_options(config, vector_encoder))
    return Side(about["kind"], about, build, reader, lambda _: inputs.Arrays(side, (width,)))


def _regions(config: Config, side: str, kept: Kept, rows: RowTable | None) -> Side:
    shape = tuple(kept.get("shape") or _array(side, rows).shape[1:])

    def reader(table: RowTable, training: bool) -> Reader:
        return readers.Vectors(f"{side}_features", _array(side, table), _items(side, table))

    def thumbnail(table: RowTable) -> Thumbnail | None:
        if table.image_paths is None:
            return None
        show = _thumbnail(table, _SHOWN)

        def shown(image_id: str) -> np.ndarray:
            # Nothing but these pictures reads the photographs: a broken one ends no run.
            try:
                return show(image_id)
            except (OSError, tf.errors.OpError) as error:
                logging.warning("The photograph of %s cannot be shown: %s", image_id, error)
                return np.full((*_SHOWN, 3), 230, np.uint8)

        return shown

    about = {"kind": REGIONS, "shape": list(shape)}
    build = functools.partial(region_encoder, shape, **_options(config, region_encoder))
    return Side(REGIONS, about, build, reader, lambda _: inputs.Arrays(side, shape), thumbnail=thumbnail)


def _words(config: Config, side: str, kept: Kept, rows: RowTable | None) -> Side:
    vectors = None if rows is None else load_word_vectors(config.model.word_vectors, data_root(config))
    words, tokens = kept.get("words"), kept.get("tokens", "library") if kept else config.model.tokens
    if words is None and rows is not None:
        words = _vocabulary(config, tokens, rows, () if vectors is None else vectors.words)
    vocabulary = Vocabulary(words or (), tokens)
    word_dim = kept.get("word_dim") or (config.model.word_dim if vectors is None else vectors.dim)
    options = _options(config, text_encoder, sequence_embedding) | {"word_dim": word_dim}
    options["word_vectors"] = None if vectors is None else matrix(vectors, vocabulary)
    options |= {"unknown_word": vocabulary.rule.unknown, "first_word": vocabulary.rule.first_word}
    about = {"kind": WORDS, "word_dim": word_dim, "tokens": tokens, "words": vocabulary.words}
    tokenizer = Tokenizer(vocabulary, max_tokens=config.model.max_tokens, tokens=tokens)
    return _sentences(about, tokenizer, functools.partial(word_encoder, tokenizer.vocabulary_size, **options))


def _vocabulary(config: Config, tokens: str, rows: RowTable, extra_words: Sequence[str]) -> list[str]:
    """The words of the file that `--vocabulary` names, or of the captions of a training split."""
    if config.data.vocabulary:
        return read_vocabulary(find_vocabulary(config.data.vocabulary, data_root(config)))
    least = config.data.min_count
    return Vocabulary.build(captions_of(rows), least, extra_words=extra_words, tokens=tokens).words


def _bert(config: Config, side: str, kept: Kept, rows: RowTable | None) -> Side:
    if rows is None:
        bert = Bert.from_json(json.dumps(kept["bert"]))
    else:
        source = config.model.bert
        bert = load_bert(str(model_folder()) if source == "minilm" else source)
    if config.model.max_tokens > bert.config.positions:
        raise UserError(
            f"--max_tokens={config.model.max_tokens} is more than the {bert.config.positions} tokens of "
            f"--bert={config.model.bert}."
        )
    tokenizer = WordPieceTokenizer(
        bert.vocabulary,
        lower_case=bert.lower_case,
        strip_accents=bert.strip_accents,
        max_tokens=config.model.max_tokens,
    )
    options = _options(config, bert_text_encoder, sequence_embedding)
    about = {"kind": BERT, "bert": json.loads(bert.to_json())}
    return _sentences(about, tokenizer, functools.partial(bert_encoder, bert, **options))


def _sentences(about: Kept, tokenizer: keras.layers.Layer, build: Callable[[], Encoder]) -> Side:
    def reader(table: RowTable, training: bool) -> Reader:
        return readers.Sentences(table, tokenizer)

    def request(name: str) -> inputs.Input:
        return inputs.Sentences(exported_tokenizer(tokenizer, name))

    return Side(about["kind"], about, build, reader, request, words=tokenizer.words_of)


KINDS: dict[str, Callable[[Config, str, Kept, RowTable | None], Side]] = {
    PICTURES: _pictures,
    IMAGE_VECTORS: _vectors,
    REGIONS: _regions,
    TEXT_VECTORS: _vectors,
    WORDS: _words,
    BERT: _bert,
}


def image_size(config: Config) -> tuple[int, int]:
    """(height, width) in pixels of `--image_size=SIDE` or `HEIGHTxWIDTH`."""
    match = re.fullmatch(r"(\d+)(?:x(\d+))?", config.model.image_size)
    size = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
    if not 1 <= min(size) <= max(size) <= _LARGEST_SIDE:
        raise UserError(
            f"--image_size={config.model.image_size} is neither a side, 224, nor HEIGHTxWIDTH, 256x128, of at most "
            f"{_LARGEST_SIDE} pixels."
        )
    return size


def captions_of(table: RowTable) -> list[str]:
    """Every caption of every row, in order."""
    return [caption for captions in table.captions for caption in captions]


def _options(config: Config, *builders: Callable[..., Any]) -> dict[str, Any]:
    """The fields of the model's config that builders take by name, and the seed of their dropouts."""
    parameters = [one for build in builders for one in inspect.signature(build).parameters.values()]
    taken = {parameter.name for parameter in parameters if parameter.kind is parameter.KEYWORD_ONLY}
    chosen = {name: value for name, value in dataclasses.asdict(config.model).items() if name in taken}
    return chosen | {"seed": config.train.seed}


def _array(side: str, table: RowTable | None) -> Array:
    array = None if table is None else table.features if side == "image" else table.text_features
    if array is None:
        raise UserError(f"The {side}s of this data set are not vectors, which the run was trained on.")
    return array


def _items(side: str, table: RowTable | None) -> Items:
    """Where rows find their vectors in the arrays of the whole data set."""
    assert table is not None
    place = table.image_index if side == "image" else table.text_index
    assert place is not None
    return dataclasses.replace(Items.of(side, table), place=place)


def _kept_before(config: Config, run: RunDirectory) -> dict[str, Kept]:
    """What runs of versions without inputs.json have kept, in a file for each kind of text."""
    image: Kept = {"kind": PICTURES}
    if (run.path / "feature_widths.json").is_file():
        widths = json.loads((run.path / "feature_widths.json").read_text("utf-8"))
        kinds = {"image": IMAGE_VECTORS, "text": TEXT_VECTORS}
        return {side: {"kind": kind, "width": int(widths[side])} for side, kind in kinds.items()}
    if (run.path / "bert.json").is_file():
        bert = json.loads((run.path / "bert.json").read_text("utf-8"))
        return {"image": image, "text": {"kind": BERT, "bert": bert}}
    if (run.path / "vocabulary.txt").is_file():
        words = Vocabulary.load(run.path / "vocabulary.txt").words
        return {"image": image, "text": {"kind": WORDS, "words": words}}
    return {}
