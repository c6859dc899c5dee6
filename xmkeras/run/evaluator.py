"""Embeds a split with a method's towers and measures retrieval on it."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from absl import logging

from xmkeras.bars import progress
from xmkeras.config import PICTURES, Config
from xmkeras.data.passes import one_pass
from xmkeras.data.readers import Items, Reader
from xmkeras.data.rows import RowTable
from xmkeras.errors import UserError
from xmkeras.method import Batch, Method
from xmkeras.models.encoder import Encoder, Towers
from xmkeras.models.maps import attended
from xmkeras.retrieval import score_matrix
from xmkeras.retrieval.embeddings import Block, EmbeddingSet, EmbeddingWriter
from xmkeras.retrieval.measured import Look, Measured, Split
from xmkeras.retrieval.protocols import load_protocol
from xmkeras.retrieval.scores import Score, scorer_of
from xmkeras.retrieval.tally import Ties
from xmkeras.retrieval.word_pictures import over_image
from xmkeras.run.sides import Side, Thumbnail, protocol_of

# Of a batch: numbers in its inputs, sequences, items.
_NUMBERS, _SEQUENCES = 64 * 224 * 224 * 3, 256
_FEWEST, _MOST = 64, 1024
_NAMED = 8  # broken images


class Evaluator:
    """Embeds and measures one split; compiled once, used at every evaluation of a run.

    Args:
        config: says by which protocol.
        table: the split.
        method: whose `retrieval_towers` embed it and whose `similarity` ranks it.
        sides: of the run.
        directory: where the embeddings go.

    Attributes:
        readers: what the sides are read from; what frozen towers made of them may take their place.
    """

    def __init__(
        self, config: Config, table: RowTable, method: Method, sides: Mapping[str, Side], directory: pathlib.Path
    ):
        self.table = table
        self.readers: dict[str, Reader] = {name: side.reader(table, False) for name, side in sides.items()}
        self.protocol_name = protocol_of(config, sides, table, method.similarity)
        self.protocol = load_protocol(self.protocol_name)
        self.directory = directory
        self._method = method
        self._of_vectors: Score = "euclidean" if method.similarity == "euclidean" else None
        self._scores = pair_scores(method) if method.similarity == "pairs" else vector_scores(self._of_vectors)
        self._encoders = {name: Encoding(encoder) for name, encoder in method.retrieval_towers.sides.items()}
        # Regions of a detector lie anywhere, and those of a map that is no square are not told from their number.
        size = sides["image"].kept.get("size", (0, 1))
        self._grid = sides["image"].kind == PICTURES and (config.model.region_grid > 0 or size[0] == size[1])
        self._words = sides["text"].words if "text" in sides else None
        self._texts = np.empty(0, np.int64)
        show = sides["image"].thumbnail
        self.thumbnail: Thumbnail | None = None if show is None else show(table)

    @property
    def towers(self) -> Towers:
        """The towers whose embeddings are measured."""
        return self._method.retrieval_towers

    def attended(self, image_id: str) -> dict[str, np.ndarray]:
        """Where in an image of the split the attention to maps looks, (H, W) a map; {} without such attention."""
        encoder, items = self._method.retrieval_towers.sides["image"], Items.images(self.table)
        batch = self._batch("image", items, int(items.at(self.table.image_ids.index(image_id))))
        return {name: keras.ops.convert_to_numpy(weights)[0] for name, weights in attended(encoder, batch).items()}

    @property
    def attends(self) -> bool:
        """Whether it can be shown where words look: words, regions of which is known where they lie, and attention."""
        return self._method.attends and self._words is not None and (self._grid or self.table.boxes is not None)

    def looks(self, text: int, image_id: str) -> list[Look]:
        """Where in an image each word of a text looks, of a method that `attends`.

        Args:
            text: its place among those that were embedded last.
            image_id: of an image of the split.
        """
        assert self._words is not None
        row = self.table.image_ids.index(image_id)
        boxes = None if self.table.boxes is None else self.table.boxes.of(int(self.table.image_index[row]))
        if boxes is None and not self._grid:
            return []
        images, texts, number = Items.images(self.table), Items.texts(self.table), int(self._texts[text])
        caption = self.table.captions[texts.rows[number]][texts.captions[number]]
        towers, image = self._method.retrieval_towers, int(images.at(row))
        outputs = towers.encode("image", self._batch("image", images, image))
        outputs |= towers.encode("text", self._batch("text", texts, number))
        shares = self._method.attention(outputs)
        each = keras.ops.convert_to_numpy(shares)[0]
        return [(word, over_image(one, boxes)) for word, one in zip(self._words(caption), each, strict=False)]

    def _batch(self, side: str, items: Items, number: int) -> Batch:
        """One item of a side, as a batch for its encoder."""
        one = dataclasses.replace(items, rows=items.rows[[number]], captions=items.captions[[number]])
        (batch,) = one_pass(self.readers[side], one, batch_size=1)
        batch.pop("item")
        return batch

    @property
    def figures(self) -> tuple[str, ...]:
        """The names of what `measure` will report, known before anything is embedded.

        Raises:
            UserError: the protocol needs a side that the run has not, or a split of another size.
        """
        if missing := set(self.protocol.sides) - set(self._encoders):
            raise UserError(
                f"--protocol={self.protocol_name} needs {missing.pop()}s, which this run has not; choose auto."
            )
        return self.protocol.figures(self.table.label_kind, self.table.num_images)

    def embed(self, *, named: bool = False) -> dict[str, EmbeddingSet]:
        """Streams the embeddings of all distinct images, and of all texts, to disk.

        Texts of images that cannot be read are left out with them, and the log says so. With `named`, the id of a text
        is the text itself, not the id of its image.

        Raises:
            UserError: no image of the split can be read.
        """
        embedded = self._embedded()
        sets = {name: items for name, (items, _) in embedded.items()}
        if named and "text" in sets:
            texts = sets["text"]
            sets["text"] = EmbeddingSet(np.array(self._captions(embedded)), texts.labels, texts.vectors)
        return sets

    def measure(self, ties: Ties = "pessimistic", ensemble: Sequence[Evaluator] = ()) -> Measured:
        """Embeds the split and measures it by the protocol.

        With an `ensemble`, by the mean of this model's scores and those of the others on the same split.

        Raises:
            UserError: no image can be read, or the models of the ensemble read different ones.
        """
        embedded = self._embedded()
        sets = {name: items for name, (items, _) in embedded.items()}
        score = self._of_vectors
        if ensemble or self._method.similarity == "pairs":
            matrix = self._score_matrix(sets)
            if ensemble:
                matrices = [matrix, *(other._like(sets) for other in ensemble)]
                matrix = score_matrix.mean(matrices, self.directory / "mean_scores.npy")
            score = score_matrix.MatrixScore(matrix)
            sets = {name: score_matrix.by_place(one) for name, one in sets.items()}
        captions = self._captions(embedded)
        return self.protocol.measure(
            Split(sets["image"], sets.get("text"), captions, self.table.label_kind, score=score, ties=ties)
        )

    def _captions(self, embedded: Mapping[str, tuple[EmbeddingSet, np.ndarray]]) -> list[str]:
        """The words of the texts that were embedded."""
        if "text" not in embedded:
            return []
        items, numbers = Items.texts(self.table), embedded["text"][1]
        return [self.table.captions[items.rows[number]][items.captions[number]] for number in numbers]

    def _score_matrix(self, sets: Mapping[str, EmbeddingSet]) -> np.ndarray:
        """The score of all pairs (n, m), in shards, on disk."""
        images, texts = sets["image"], sets.get("text", sets["image"])
        path, shard = self.directory / "scores.npy", self._method.shard
        return score_matrix.compute(path, images, texts, self._scores, shard=shard)

    def _like(self, sets: Mapping[str, EmbeddingSet]) -> np.ndarray:
        """The scores of this model's embeddings of the items that another one has embedded as `sets`."""
        own = self.embed()
        if own.keys() != sets.keys() or any(own[name].ids.tolist() != sets[name].ids.tolist() for name in sets):
            raise UserError("The models of an ensemble must read the same images and texts; see the warnings above.")
        return self._score_matrix(own)

    def _embedded(self) -> dict[str, tuple[EmbeddingSet, np.ndarray]]:
        """The embeddings of each side, and the numbers of its items that they are of."""
        embedded = {}
        for name in self._encoders:
            encoding, reader = self._encoders[name], self.readers[name]
            embedded[name] = stream(name, encoding, reader, self.table, self.directory / f"{name}s")
            if name == "image" and not len(embedded[name][0]):
                raise UserError(
                    f"None of the images of {self.table.name} can be read; check them with `xmkeras verify`."
                )
        images = embedded["image"][0]
        missing = len(self.table.distinct_images()) - len(images)
        if missing:
            known = set(images.ids.tolist())
            names = [name for name in dict.fromkeys(self.table.image_ids) if name not in known]
            more = f" and {missing - _NAMED} more" if missing > _NAMED else ""
            logging.warning(
                "%d broken images of %s are left out of the evaluation: %s%s.",
                missing, self.table.name, ", ".join(names[:_NAMED]), more,
            )  # fmt: skip
            for name, (items, numbers) in embedded.items():
                readable = np.isin(items.ids, images.ids)
                embedded[name] = items.take(readable), numbers[readable]
        if "text" in embedded:
            self._texts = embedded["text"][1]
        return embedded


def stream(
    side: str, encoding: Encoding, reader: Reader, table: RowTable, folder: pathlib.Path
) -> tuple[EmbeddingSet, np.ndarray]:
    """Writes what an encoding makes of the distinct images or of all texts of a table to `folder`, batch by batch.

    Returns:
        The embeddings, memory-mapped, without those of broken inputs, and the numbers of the items that they are of.
    """
    items, ids = Items.of(side, table), np.array(table.image_ids)
    dataset = one_pass(reader, items, batch_size=encoding.batch_size)
    encode = encoding.traced({name: spec for name, spec in dataset.element_spec.items() if name != "item"})
    numbers: list[np.ndarray] = []
    with EmbeddingWriter(folder, encoding.dim) as writer:
        for batch in progress(dataset, len(items), f"embedding {side}s", size=lambda batch: len(batch["item"])):
            number = batch.pop("item").numpy()
            rows = items.rows[number]
            numbers.append(number)
            writer.append(ids[rows], table.labels[rows], **encode(batch))
    return EmbeddingSet.load(folder), np.concatenate([np.empty(0, np.int64), *numbers])


class Encoding:
    """An encoder in inference, from batches to arrays."""

    def __init__(self, encoder: Encoder):
        self.dim = encoder.dim
        shapes = [tensor.shape[1:] for tensor in encoder.takes.values()]
        # Large inputs go in small batches; of small ones the calls cost more than what they compute.
        known = all(None not in shape for shape in shapes)
        numbers = max(int(np.prod(shape)) for shape in shapes) if known else _NUMBERS // _SEQUENCES
        self.batch_size = int(np.clip(_NUMBERS // max(numbers, 1), _FEWEST, _MOST))
        self._encode = tf.function(lambda batch: _kept(encoder(batch)), autograph=False)

    def traced(self, spec: Mapping[str, tf.TensorSpec]) -> Callable[[dict[str, tf.Tensor]], dict[str, np.ndarray]]:
        """From batches to `vectors`, and `mask` where an item has many.

        Traced once for all batches, whatever their lengths: a trace of BERT takes a second.
        """
        encode = self._encode.get_concrete_function(dict(spec))
        return lambda batch: {name: value.numpy() for name, value in encode(batch).items()}


def _kept(outputs: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    vectors = {"vectors": tf.cast(outputs[""], tf.float32)}
    return vectors | {name: value for name, value in outputs.items() if name == "mask"}


def vector_scores(score: Score) -> Any:
    """The exact cosine, or minus the distance, of a block of images and a block of texts: (a, d), (b, d) -> (a, b)."""
    scorer = scorer_of(score)
    return lambda left, right: scorer.shown(scorer.exact(scorer.prepare(left), scorer.prepare(right)))


def pair_scores(method: Method) -> Any:
    """`method.score` of a block of images and a block of texts, or of images, (a, ...), (b, ...) -> float32 (a, b)."""

    @tf.function(reduce_retracing=True)
    def score(outputs: dict[str, tf.Tensor]) -> tf.Tensor:
        return method.score(outputs)

    def of_blocks(left: Block, right: Block) -> np.ndarray:
        outputs: dict[str, np.ndarray] = {}
        for side, block in (("image", left), ("text", right)):
            vectors, mask = block if isinstance(block, tuple) else (block, None)
            outputs[side] = vectors
            outputs |= {} if mask is None else {f"{side}/mask": mask}
        return keras.ops.convert_to_numpy(score({name: tf.constant(value) for name, value in outputs.items()}))

    return of_blocks
