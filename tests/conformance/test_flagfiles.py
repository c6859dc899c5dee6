"""Every shipped flagfile parses and takes two steps on a small set, with small towers."""

from __future__ import annotations

import pathlib
import signal

import pytest

from tests.conformance.cases import SMALL, SMALL_BERT, SMALL_IMAGES, write_pairs
from tests.conftest import ROOT
from tests.data.feature_pairs import write_wikipedia
from tests.data.published_layouts import write_regions
from tests.models.tiny_bert import write_hugging_face
from xmkeras import flags, methods
from xmkeras.method import Batch
from xmkeras.run import jobs
from xmkeras.run.directory import RunDirectory
from xmkeras.training.checkpoints import Checkpoints
from xmkeras.training.step import TrainStep

FLAGFILES = sorted((ROOT / "flags").glob("*.cfg"))


@pytest.mark.parametrize("flagfile", FLAGFILES, ids=lambda path: path.stem)
@pytest.mark.usefixtures("plain_tower")
def test_two_steps(flagfile: pathlib.Path, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch):
    config = flags.parse([f"--flagfile={flagfile}"]).config
    alone = "text" not in methods.load(config.method).sides
    # How images alone are measured does not depend on the flagfile.
    splits = ("train",) if alone else ("train", "validation")
    table = write_pairs(tmp_path / "pairs", images=20, splits=splits, by_colour=alone)
    # Data, weights, tower size and batch are what this test sets; Ctrl-C after the second step ends it.
    replaced = ["--source=table", f"--table={table}", "--batch_size=10", f"--run={tmp_path / 'run'}"]
    if alone:
        replaced += [*SMALL_IMAGES, "--dml.maps=relu", "--images_per_class=2", "--split_rule="]
    elif config.model.text_tower == "bert":
        # As many layers as MiniLM, since flagfiles say how many of them are frozen.
        replaced += [*SMALL_BERT, f"--bert={write_hugging_face(tmp_path / 'bert', layers=6)}"]
    else:
        replaced += SMALL
    if config.model.head_init == "cca":
        replaced += ["--embedding_dim=8"]  # so few images have no more directions
    if "wikipedia" in flagfile.stem:
        write_wikipedia(tmp_path)
        replaced = [f"--data_dir={tmp_path}", "--batch_size=10", f"--run={tmp_path / 'run'}"]
    if config.data.source.endswith("_regions"):
        folder = {"flickr30k_regions": "f30k_precomp", "coco_regions": "coco_precomp"}[config.data.source]
        write_regions(tmp_path, folder)
        replaced = [f"--data_dir={tmp_path}", "--batch_size=10", f"--run={tmp_path / 'run'}", "--min_count=1"]
        replaced += ["--embedding_dim=16", "--word_dim=8"]
    take = TrainStep.__call__

    def take_and_interrupt(self: TrainStep, batch: Batch, step: int):
        if step == 1:
            signal.raise_signal(signal.SIGINT)
        return take(self, batch, step)

    monkeypatch.setattr(TrainStep, "__call__", take_and_interrupt)
    run = RunDirectory(tmp_path / "run")
    config = flags.parse([f"--flagfile={flagfile}", *replaced]).config
    result = jobs.train(run.named_in(config), run)
    assert (result.ending, result.step) == ("interrupted", 2)
    assert Checkpoints(run.checkpoints).steps() == [2]


def test_there_are_flagfiles():
    assert "cmpm_flowers" in {path.stem for path in FLAGFILES}
