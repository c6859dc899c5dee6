"""Runs over feature pairs: bit-equal after a cut, other methods, kept inputs, faults."""

from __future__ import annotations

import pathlib
import signal

import keras
import numpy as np
import pytest

from tests.data.feature_pairs import write_npz, write_wikipedia
from xmkeras import flags
from xmkeras.export import main as export
from xmkeras.method import Batch
from xmkeras.retrieval.embeddings import EmbeddingSet
from xmkeras.run import evaluation, jobs, trained
from xmkeras.run.assembly import load_table
from xmkeras.run.directory import RunDirectory
from xmkeras.serving.client import SearchModel
from xmkeras.training.checkpoints import Checkpoints
from xmkeras.training.step import TrainStep

SMALL = ("--image_hidden=6", "--embedding_dim=4", "--batch_size=5", "--log_every=1")


def start(tmp_path: pathlib.Path, name: str, *more: str) -> RunDirectory:
    argv = ["--flagfile=flags/daml_wikipedia.cfg", f"--data_dir={tmp_path}", *SMALL, *more]
    run = RunDirectory(tmp_path / name)
    jobs.train(run.named_in(flags.parse(argv).config), run)
    return run


def test_a_cut_run_goes_on_bit_by_bit(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch):
    write_wikipedia(tmp_path)
    options = ("--steps=12", "--save_every=4", "--feature_dropout=0.2", "--hidden_dropout=0.3", "--epoch_over=balanced")
    options += ("--image_preprocessing=standardize", "--hidden_norm=batch")
    whole = start(tmp_path, "whole", *options)
    take = TrainStep.__call__

    def take_and_interrupt(self: TrainStep, batch: Batch, step: int):
        if step == 6:
            signal.raise_signal(signal.SIGINT)
        return take(self, batch, step)

    with monkeypatch.context() as patch:
        patch.setattr(TrainStep, "__call__", take_and_interrupt)
        cut = start(tmp_path, "cut", *options)
    assert Checkpoints(cut.checkpoints).steps()[-1] == 7
    keras.utils.clear_session()
    cut = start(tmp_path, "cut", *options)
    one, two = (Checkpoints(run.checkpoints).latest() for run in (whole, cut))
    assert one is not None
    assert two is not None
    assert (one.step, two.step) == (12, 12)
    assert one.tensors.keys() == two.tensors.keys()
    for name, value in one.tensors.items():
        assert value.tobytes() == two.tensors[name].tobytes(), name


def test_the_method_of_a_run_has_its_statistics_again(tmp_path: pathlib.Path):
    write_wikipedia(tmp_path)
    run = start(tmp_path, "run", "--steps=2", "--image_preprocessing=standardize", "--text_preprocessing=tfidf,l2")
    method, step, *_ = trained.load(run.config(), run)
    assert step == 2
    rows = load_table(run.config()).split("train")
    examples = rows.features[rows.image_index]
    scaling = method.towers.named_parts["image_head"].get_layer("standardize_1")
    np.testing.assert_allclose(-np.asarray(scaling.offset), examples.mean(axis=0), rtol=1e-5)


def test_other_methods_train_on_vectors_too(tmp_path: pathlib.Path):
    table = write_npz(tmp_path / "pairs.npz")
    argv = ["--method=cmpm", "--source=features", f"--table={table}", *SMALL, "--steps=2"]
    run = RunDirectory(tmp_path / "cmpm")
    jobs.train(run.named_in(flags.parse(argv).config), run)
    measured, report = evaluation.evaluate(run.config(), run, "test")
    assert measured.results["mAP"] > 0
    assert report.is_file()


def test_export_packs_both_galleries(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]):
    write_wikipedia(tmp_path)
    run = start(tmp_path, "run", "--steps=2")
    assert export([f"--run={run.path}", "--gallery=test", "--top_k=2"]) == 0
    assert "--text_features=FILE.npy" in capsys.readouterr().out
    model = SearchModel(run.path)
    assert model.metadata["similarity"] == "euclidean"
    assert {"split": "test", "images": 12, "top_k": 2}.items() <= model.metadata["gallery"].items()
    found = model.signatures["search_texts_by_image"](image_features=keras.ops.ones((1, 8)))
    assert found["ids"].numpy()[0, 0].decode().startswith("textte")


def test_the_exported_search_ranks_by_the_distance_that_was_measured(tmp_path: pathlib.Path):
    """R@1 of the model's own search is R@1 of the evaluation: before, the one went by the cosine."""
    write_wikipedia(tmp_path, train=60, test=30)
    run = start(tmp_path, "run", "--steps=20", "--batch_size=18")
    measured, _ = evaluation.evaluate(run.config(), run)
    assert measured.score == "euclidean"
    assert export([f"--run={run.path}", "--gallery=test", "--top_k=1"]) == 0
    test = load_table(run.config()).split("test")
    found = SearchModel(run.path).signatures["search_by_text"](text_features=test.text_features[test.text_index])
    class_of = dict(zip(test.image_ids, test.labels, strict=True))
    hits = [class_of[name.decode()] == label for [name], label in zip(found["ids"].numpy(), test.labels, strict=True)]
    assert 100 * np.mean(hits) == pytest.approx(measured.results["text_to_image/R@1"])
    distances = np.linalg.norm(measured.images.vectors[:, None] - measured.texts.vectors, axis=2)
    np.testing.assert_allclose(found["scores"].numpy()[:, 0], -distances.min(axis=0), atol=1e-5)


def test_before_training_means_the_first_weights_of_the_run(tmp_path: pathlib.Path):
    """A run at next to no rate keeps its first weights: before and after are the same."""
    write_wikipedia(tmp_path)
    run = start(tmp_path, "run", "--steps=2", "--learning_rate=1e-12", "--image_preprocessing=standardize")
    evaluation.evaluate(run.config(), run)
    for side in ("images", "texts"):
        first, last = (EmbeddingSet.load(run.embeddings(split) / side) for split in ("test-untrained", "test"))
        np.testing.assert_allclose(first.vectors, last.vectors, atol=1e-6)
