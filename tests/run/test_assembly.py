"""A config becomes parts: sizes, labels, stages, lengths of an epoch."""

from __future__ import annotations

import dataclasses
import pathlib

import numpy as np
import pytest

from tests.conformance.cases import SMALL, write_pairs, write_vectors
from xmkeras import flags
from xmkeras.errors import UserError
from xmkeras.run import assembly
from xmkeras.run.sides import sides_of


def _config(*argv: str):
    return flags.parse([*SMALL, *argv]).config


def test_one_label_an_image_counts_the_training_images_first(tmp_path: pathlib.Path):
    table = write_pairs(tmp_path, 5, splits=("test", "train"))
    argv = ("--source=table", f"--table={table}")
    classes = assembly.load_table(_config(*argv))
    images = assembly.load_table(_config(*argv, "--labels=image"))
    assert classes.label_kind == "class"
    assert images.label_kind == "image"
    train, test = images.split("train"), images.split("test")
    assert sorted(set(train.labels)) == list(range(5))
    assert train.num_labels == 5
    assert sorted(set(test.labels)) == list(range(5, 10))
    for row in range(len(images)):
        assert images.label_names[images.labels[row]] == images.image_ids[row]


def test_stages_come_from_flags_or_from_the_length():
    assert [stage.steps for stage in assembly.stages_of(_config("--steps=7"))] == [7]
    assert [stage.epochs for stage in assembly.stages_of(_config("--epochs=1.5"))] == [1.5]
    two = assembly.stages_of(_config("--stage=steps=2 frozen=image_.*", "--stage=epochs=3"))
    assert [(stage.steps, stage.epochs, stage.frozen) for stage in two] == [(2, None, ("image_.*",)), (None, 3.0, ())]


def test_an_epoch_is_as_long_as_what_it_goes_over(tmp_path: pathlib.Path):
    table = write_pairs(tmp_path, 8)
    argv = ("--source=table", f"--table={table}", "--batch_size=4")
    for over, steps in (("pairs", 4), ("images", 2), ("labels", 2)):
        config = _config(*argv, f"--epoch_over={over}")
        assert assembly.sampler_of(config, assembly.load_table(config).split("train")).steps_per_epoch == steps


def test_samplers_are_interchangeable(tmp_path: pathlib.Path):
    argv = ("--source=table", f"--table={write_pairs(tmp_path, 16)}", "--batch_size=8")
    rows = assembly.load_table(_config(*argv)).split("train")
    for name, of_each in (("classes", 2), ("one_per_class", 1)):
        config = _config(*argv, f"--sampler={name}", "--images_per_class=2")
        chosen = dataclasses.replace(rows, labels=rows.labels // 2)
        for batch in assembly.sampler_of(config, chosen).epoch(0)[0]:
            assert set(np.unique(chosen.labels[batch], return_counts=True)[1]) == {of_each}


def test_what_vectors_cannot_give_is_refused(tmp_path: pathlib.Path):
    table = write_vectors(tmp_path / "pairs.npz", 8)
    argv = ["--source=features", f"--table={table}", "--method=dml", "--validation_share=0"]
    for extension, refused in (("base", False), ("gdfl", True)):
        config = flags.parse([*argv, f"--dml.extension={extension}"]).config
        rows = assembly.load_table(config).split("train")
        kinds = sides_of(config, ("image",), rows, {})
        if not refused:
            assert assembly.build_method(config, kinds, rows.num_labels).towers.embedding_dim == 512
            continue
        with pytest.raises(UserError, match="asks its encoder for fusion, which image vectors have not"):
            assembly.build_method(config, kinds, rows.num_labels)
