"""Runs over feature pairs: bit-equal after a cut, other methods, kept inputs, faults."""

from __future__ import annotations

import pathlib
import signal

import keras
import numpy as np
import pytest

from tests.data.feature_pairs import write_npz, write_wikipedia
from xmkeras import assembly, export, flags, jobs
from xmkeras.method import Batch
from xmkeras.run import RunDirectory
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
    method, step = jobs.load_method(run.config(), run)
    assert step == 2
    train = assembly.feature_inputs(assembly.load_table(run.config()).split("train"))
    scaling = next(layer for layer in method.towers.image_head.layers if layer.name == "standardize_1")
    np.testing.assert_allclose(-np.asarray(scaling.offset), train.examples[0].mean(axis=0), rtol=1e-5)


def test_other_methods_train_on_vectors_too(tmp_path: pathlib.Path):
    table = write_npz(tmp_path / "pairs.npz")
    argv = ["--method=cmpm", "--source=features", f"--table={table}", *SMALL, "--steps=2", "--best_metric=mAP"]
    run = RunDirectory(tmp_path / "cmpm")
    jobs.train(run.named_in(flags.parse(argv).config), run)
    measured, report = jobs.evaluate(run.config(), run, "test")
    assert measured.results["mAP"] > 0
    assert report.is_file()


def test_export_packs_both_galleries(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]):
    write_wikipedia(tmp_path)
    run = start(tmp_path, "run", "--steps=2")
    assert export.main([f"--run={run.path}", "--gallery=test", "--top_k=2"]) == 0
    assert "--text_features=FILE.npy" in capsys.readouterr().out
    from xmkeras.serving.client import SearchModel

    model = SearchModel(run.path)
    assert model.metadata["distance"] == "euclidean"
    assert model.metadata["gallery"] == {"split": "test", "images": 12, "top_k": 2}
    found = model.signatures["search_texts_by_image_features"](image_features=keras.ops.ones((1, 8)))
    assert found["ids"].numpy()[0, 0].decode().startswith("textte")
