"""Training on what frozen towers make of images and captions, from the command and in parts."""

from __future__ import annotations

import csv
import dataclasses
import pathlib

import numpy as np
import pytest
import tensorflow as tf

from tests.conformance.cases import SMALL, write_pairs
from tests.models.tiny_bert import write_hugging_face
from tests.test_jobs import command, run_to_end
from xmkeras import assembly, flags, jobs
from xmkeras.config import Config
from xmkeras.evaluation import Evaluator
from xmkeras.method import Method
from xmkeras.run import RunDirectory
from xmkeras.stage_features import stage_features
from xmkeras.training.checkpoints import Checkpoints
from xmkeras.training.freezing import Freezer

FROZEN = r"(image_backbone|text_encoder/bert_.*)/.*"


def weights_of(run: pathlib.Path) -> dict[str, np.ndarray]:
    checkpoint = Checkpoints(run / "checkpoints").latest()
    assert checkpoint is not None
    return {name: value for name, value in checkpoint.tensors.items() if name.startswith("weights/")}


def test_feature_cache_trains_like_the_frozen_backbone_itself(tmp_path: pathlib.Path):
    # No moving average: with one, validation reads the averaged towers and has no use for features of the others.
    frozen = ("--stage=steps=6 frozen=image_backbone/.*", "--augment=none", "--learning_rate=1e-2", "--ema=0")
    table = write_pairs(tmp_path / "pairs", 32, splits=("train", "validation"))
    for name, more in (("cached", ()), ("computed", ("--nofeature_cache",))):
        done = run_to_end(command(table, tmp_path / name, *frozen, *more))
        assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "cached" / "features").glob("images-*.npy"))) == 2
    assert not (tmp_path / "computed" / "features").exists()
    two = weights_of(tmp_path / "computed")
    for name, value in weights_of(tmp_path / "cached").items():
        np.testing.assert_allclose(value, two[name], atol=1e-4, err_msg=name)


@pytest.fixture(scope="module")
def arguments(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """TIMAM on sixteen drawings a split with two captions each, and a BERT of a few thousand random weights."""
    folder = tmp_path_factory.mktemp("timam")
    table = write_pairs(folder / "pairs", 16, splits=("train", "validation", "test"))
    return [
        "--method=timam", *SMALL, "--text_tower=bert", f"--bert={write_hugging_face(folder / 'bert')}",
        "--source=table", f"--table={table}", "--labels=image", "--batch_size=8", "--learning_rate=3e-3",
        "--bert_dropout=0.3", "--dropout=0.2", "--eval_every=3", "--devices=cpu",
    ]  # fmt: skip


def parts(arguments: list[str], *more: str) -> tuple[Config, Method]:
    config = flags.parse([*arguments, *more]).config
    rows = assembly.load_table(config).split("train")
    return config, assembly.build_method(config, assembly.bert_of(config), rows.num_labels)


def train(arguments: list[str], folder: pathlib.Path, *more: str) -> RunDirectory:
    run = RunDirectory(folder)
    jobs.train(run.named_in(flags.parse([*arguments, *more]).config), run)
    return run


def test_a_frozen_bert_is_computed_once_a_distinct_caption(arguments: list[str], tmp_path: pathlib.Path):
    config, method = parts(arguments)
    table = assembly.load_table(config)
    rows, validation = table.split("train"), table.split("validation")
    run = RunDirectory(tmp_path)
    assert stage_features(config, run, rows, method).tokens is None  # nothing is frozen yet
    Freezer(method).freeze(["text_encoder/bert_.*"])
    features = stage_features(config, run, rows, method, validation)
    assert features.images is None
    captions = assembly.captions_of(rows) + assembly.captions_of(validation)
    assert features.tokens is not None
    assert set(features.tokens.numbers) == set(captions)
    assert len(features.tokens.numbers) == len(set(captions)) < len(captions)
    texts = [captions[5], "a red circle", captions[-1]]
    ids = method.towers.tokenizer(tf.constant(texts))
    vectors, mask = features.tokens.batch(texts)
    expected, there = method.towers.text_at_tokens[0](ids)
    np.testing.assert_array_equal(mask, there)
    np.testing.assert_allclose(vectors[mask], expected.numpy()[mask], atol=1e-5)
    embedded = method.embed_texts({"text_tokens": vectors, "text_mask": mask}, training=False)
    np.testing.assert_allclose(embedded, method.towers.encode_text(tf.constant(texts)), atol=1e-5)


def test_an_empty_caption_keeps_its_end_token(arguments: list[str], tmp_path: pathlib.Path):
    config, method = parts(arguments)
    rows = assembly.load_table(config).split("train")
    rows.captions[0] = ("",)
    Freezer(method).freeze(["text_encoder/bert_.*"])
    tokens = stage_features(config, RunDirectory(tmp_path), rows, method).tokens
    assert tokens is not None
    vectors, mask = tokens.batch(["", rows.captions[1][0]])
    assert mask[0].tolist() == [True, False, False, False, False, False]
    embedded = method.embed_texts({"text_tokens": vectors, "text_mask": mask}, training=False)
    expected = method.towers.encode_text(tf.constant(["", rows.captions[1][0]]))
    np.testing.assert_allclose(embedded, expected, atol=1e-5)


def test_dropped_words_are_computed_anew(arguments: list[str], tmp_path: pathlib.Path):
    config, method = parts(arguments, "--word_dropout=0.1")
    Freezer(method).freeze(["text_encoder/bert_.*"])
    rows = assembly.load_table(config).split("train")
    assert stage_features(config, RunDirectory(tmp_path), rows, method).tokens is None


def test_a_broken_image_is_left_out_of_a_cached_evaluation_too(arguments: list[str], tmp_path: pathlib.Path):
    config, method = parts(arguments)
    table = assembly.load_table(config)
    rows, validation = table.split("train"), table.split("validation")
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no image")
    paths = list(validation.image_paths)
    paths[4] = str(broken)
    validation = dataclasses.replace(validation, image_paths=paths)
    Freezer(method).freeze(["image_backbone/.*", "text_encoder/bert_.*"])
    features = stage_features(config, RunDirectory(tmp_path), rows, method, validation)
    evaluator = Evaluator(config, validation, method, tmp_path / "embeddings")
    plain = [(part.ids.copy(), np.array(part.vectors)) for part in evaluator.embed()]
    evaluator.read(features.validation_images, features.tokens)
    cached = evaluator.embed()
    assert [len(part) for part in cached] == [15, 30]
    for (ids, vectors), part in zip(plain, cached, strict=True):
        np.testing.assert_array_equal(part.ids, ids)
        np.testing.assert_allclose(part.vectors, vectors, atol=1e-5)


STAGES = (f"--stage=steps=6 frozen={FROZEN}", "--stage=steps=2 lr=1e-4")


@pytest.fixture(scope="module")
def cached(arguments: list[str], tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    """Six steps on cached features and two without them, measured after three, six and eight steps."""
    folder = tmp_path_factory.mktemp("cached")
    return train(arguments, folder / "run", *STAGES, f"--feature_dir={folder / 'shared'}")


def rsums(run: RunDirectory) -> list[str]:
    with (run.path / "metrics.csv").open(encoding="utf-8", newline="") as file:
        return [row["validation/rsum"] for row in csv.DictReader(file) if row["validation/rsum"]]


def test_both_caches_train_and_measure_like_the_frozen_towers_themselves(
    arguments: list[str], cached: RunDirectory, tmp_path: pathlib.Path
):
    computed = train(arguments, tmp_path / "computed", *STAGES, "--nofeature_cache")
    shared = [path.name.split("-")[0] for path in (cached.path.parent / "shared").iterdir()]
    assert sorted(shared) == ["images", "images", "tokens"]  # training, validation, captions of both
    two = weights_of(computed.path)
    for name, value in weights_of(cached.path).items():
        np.testing.assert_allclose(value, two[name], atol=1e-3, err_msg=name)
    assert rsums(cached) == rsums(computed)
    assert len(rsums(cached)) == 3


def test_a_cached_run_goes_on_bit_by_bit(arguments: list[str], cached: RunDirectory, tmp_path: pathlib.Path):
    class CutError(Exception):
        pass

    saves = Checkpoints.save

    def save_then_die(self: Checkpoints, step: int, *args, **kwargs):
        saves(self, step, *args, **kwargs)
        if step == 3:
            raise CutError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Checkpoints, "save", save_then_die)
        with pytest.raises(CutError):
            train(arguments, tmp_path / "cut", *STAGES)
    cut = train(arguments, tmp_path / "cut", *STAGES)
    one, two = weights_of(cached.path), weights_of(cut.path)
    assert one.keys() == two.keys()
    for name in one:
        assert one[name].tobytes() == two[name].tobytes(), name
