"""The table of the conformance suite: every method, and the small set and towers that all of them train on.

A new method adds a line to `METHODS`; every test of this folder then runs for it.
"""

from __future__ import annotations

import colorsys
import csv
import pathlib
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw

METHODS: dict[str, tuple[str, ...]] = {
    # With all of its terms; without the classifier it is the method of the case `vectors_words`.
    "cmpm_cmpc": ("--method=cmpm", "--cmpm.classifier=cmpc"),
    # The adversary is on from the first step, and both phases run in every step.
    "daml": ("--method=daml", "--daml.schedule=constant", "--daml.sigma=0.1", "--daml.head_every=1"),
    "timam": ("--method=timam",),
}


# Of images alone, on towers with one map. All take part in the test of replicas; what they share is tested once, on the
# richest, and with the queue of embeddings.
_RELU = ("--method=dml", "--dml.maps=relu")
_ALL_PAIRS = ("--dml.loss=angular", "--dml.angular_form=all_pairs")
_QUEUE = (*_RELU, "--dml.extension=base", "--dml.loss=supcon", "--dml.memory=12")
DML: dict[str, tuple[str, ...]] = {
    "dml_base": (*_RELU, "--dml.extension=base", "--dml.triplet_margin=0.5"),
    "dml_gdfl": (*_RELU, "--dml.extension=gdfl", "--dml.loss=proxy_nca"),
    "dml_adversary": (*_RELU, "--dml.extension=adversary", "--dml.loss=proxy_nca"),
    "dml_energy": (*_RELU, "--dml.extension=energy", *_ALL_PAIRS),
    "dml_soft_adv": (*_RELU, "--dml.extension=soft_adv", "--dml.loss=angular"),
    "dml_adapt_adv": (*_RELU, "--dml.extension=adapt_adv", "--dml.loss=proxy_nca", "--dml.attention=multi_dimensional"),
}


# On regions and words. Of the two ways to read words each has a case.
_TELLS = ("--vsrn.caption_units=6", "--vsrn.caption_word_dim=6", "--vsrn.caption_dropout=0", "--vsrn.layers=1")
_ADDR = ("--scan.addr", "--scan.addr_classifier=hyper", "--scan.loss=softmax", "--scan.learn_temperature")
REGION_WORDS: dict[str, tuple[str, ...]] = {
    "scan": ("--method=scan", "--scan.direction=both", "--scan.pooling=lse"),
    "scan_addr": ("--method=scan", "--scan.words=dense", *_ADDR),
    "bfan": ("--method=bfan", "--bfan.words=dense", "--bfan.addr"),
    "vsrn": ("--method=vsrn", "--vsrn.joint_norm", *_TELLS),
}


LSTM = ("--lstm_units=16", "--pooling=max")


class Case(NamedTuple):
    """A method on some kind of sides.

    Attributes:
        flags: of the method and the kinds of its inputs.
        inputs: what the data hold: "pairs" of pictures and words, "colours" (pictures of eight classes), "vectors" of
            images with words, or "regions" of images with words.
        steps: in which it learns its eight or sixteen examples by heart.
        figures: of the training split that are 100 per cent then.
    """

    flags: tuple[str, ...]
    inputs: str = "pairs"
    steps: int = 120
    figures: tuple[str, ...] = ("image_to_text/R@1", "text_to_image/R@1")


# Two batches an epoch, so that the third step, after which a run is cut off, lies inside of one.
_BY_CLASS = ("--sampler=classes", "--images_per_class=2", "--batch_size=8")
_TOYS = "--method=toy_"  # modules that `tests.toys` installs beside the methods
# What depends on the sides; a BERT of random weights has more to learn than word vectors, and DAML has an adversary.
CASES: dict[str, Case] = {
    **{name: Case(flags, steps=240 if name == "daml" else 120) for name, flags in METHODS.items()},
    **{name: Case((*METHODS[name], *LSTM)) for name in ("cmpm_cmpc", "timam")},
    "timam_bert": Case(("--method=timam", "--text_tower=bert", "--bert_dropout=0"), steps=240),
    "dml_adapt_adv": Case((*DML["dml_adapt_adv"], *_BY_CLASS), "colours", 120, ("R@1",)),
    "dml_memory": Case((*_QUEUE, *_BY_CLASS), "colours", 120, ("R@1",)),
    **{name: Case(flags, "regions", steps=80) for name, flags in REGION_WORDS.items()},
    "vectors_words": Case(("--method=cmpm", "--image_hidden=16"), "vectors", 120),
    "pair_score": Case((f"{_TOYS}pair_score",), "vectors", 120),
}

# Towers small enough that a case takes seconds. An LSTM takes as long to trace as all the rest: two cases have one.
SMALL = (
    "--image_tower=mobilenet",
    "--image_width=0.25",
    "--image_weights=none",
    "--image_size=32",
    "--embedding_dim=16",
    "--word_dim=16",
    "--lstm_units=0",
    "--pooling=mean",
    "--min_count=1",
)

# The same where there are no words to be counted, or no text at all.
SMALL_BERT = tuple(flag for flag in SMALL if not flag.startswith(("--word_dim", "--min_count")))
SMALL_IMAGES = tuple(flag for flag in SMALL_BERT if not flag.startswith(("--lstm", "--pooling")))

_COLOURS = ("red", "orange", "yellow", "green", "cyan", "blue", "purple", "pink")
_SHAPES = ("circle", "square")


def write_pairs(
    folder: pathlib.Path, images: int = 8, *, splits: tuple[str, ...] = ("train",), by_colour: bool = False
) -> pathlib.Path:
    """Writes a table of coloured shapes with two captions each, `images` a split; returns the CSV's path.

    Every image is a label of its own, or every colour is one.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "pairs.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["image", "caption", "label", "split"])
        for split in splits:
            for number in range(images):
                colour, shape = _COLOURS[number % 8], _SHAPES[(number // 8) % 2]
                name = f"{split}_{number}.png"
                _draw(folder / name, number % 8, shape, shift=number // 16)
                label = colour if by_colour else f"{colour} {shape} {number // 16}"
                for caption in (f"a {colour} {shape}", f"{shape} painted {colour}"):
                    writer.writerow([name, caption, label, split])
    return folder / "pairs.csv"


def write_vectors(
    path: pathlib.Path, images: int = 8, *, splits: tuple[str, ...] = ("train",), shape: tuple[int, ...] = (24,)
) -> pathlib.Path:
    """Writes image vectors, or regions, of a shape with a caption each, `images` a split; returns the .npz's path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    numbers = np.tile(np.arange(images), len(splits))
    generator = np.random.default_rng(0)
    vectors = np.random.default_rng(1).normal(size=(images, *shape))[numbers]
    vectors += generator.normal(0, 0.05, vectors.shape)
    captions = [f"a {_COLOURS[number % 8]} {_SHAPES[number // 8 % 2]}" for number in numbers]
    np.savez(path, image=vectors, caption=np.array(captions), split=np.repeat(splits, images))
    return path


def _draw(path: pathlib.Path, hue: int, shape: str, shift: int) -> None:
    image = Image.new("RGB", (32, 32), "white")
    colour = tuple(int(255 * part) for part in colorsys.hsv_to_rgb(hue / 8, 1, 0.9))
    box = (4 + shift % 8, 4, 26 + shift % 6, 28 - shift % 5)
    draw = ImageDraw.Draw(image)
    draw.ellipse(box, fill=colour) if shape == "circle" else draw.rectangle(box, fill=colour)
    image.save(path)


def random_batches(
    count: int, size: int, *, image_size: int, vocabulary: int, seed: int = 0
) -> list[dict[str, np.ndarray]]:
    """`count` batches of `size` random pairs, two of them of one label, as the pipeline would make them."""
    generator = np.random.default_rng(seed)
    batches = []
    for _ in range(count):
        labels = np.arange(size) % (size - 1)
        batches.append(
            {
                "image": generator.uniform(0, 255, (size, image_size, image_size, 3)).astype(np.float32),
                "text": generator.integers(2, vocabulary, (size, 8)).astype(np.int32),
                "label": labels.astype(np.int64),
                "image_id": np.arange(size, dtype=np.int64),
                "row": np.arange(size, dtype=np.int64),
            }
        )
    return batches
