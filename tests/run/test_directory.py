"""Run directories: records, and the refusal to continue with other flags or data."""

from __future__ import annotations

import dataclasses
import json
import pathlib
import re

import pytest

import xmkeras
from xmkeras import flags
from xmkeras.errors import UserError
from xmkeras.run.directory import RunDirectory


def test_a_run_records_what_repeats_it(tmp_path: pathlib.Path):
    run = RunDirectory(tmp_path / "run")
    config = run.named_in(flags.parse(["--batch_size=3", "--stage=epochs=1 lr=1e-3"]).config)
    run.open(config, "abc")
    assert run.config() == config
    assert flags.parse([f"--flagfile={run.path / 'flags.cfg'}"]).config == config
    environment = json.loads((run.path / "environment.json").read_text())
    assert environment["data_fingerprint"] == "abc"
    assert "tensorflow" in environment["packages"]
    assert environment["xmkeras"] == xmkeras.__version__
    assert re.fullmatch(r"([0-9a-f]{40}(-dirty)?)?", environment["commit"])


def test_other_flags_are_refused_with_their_difference(tmp_path: pathlib.Path):
    run = RunDirectory(tmp_path)
    run.open(flags.parse(["--batch_size=3"]).config, "abc")
    with pytest.raises(UserError, match="--batch_size was 3, is 4"):
        run.open(flags.parse(["--batch_size=4"]).config, "abc")
    with pytest.raises(UserError, match="other rows"):
        run.open(flags.parse(["--batch_size=3"]).config, "xyz")
    run.open(flags.parse(["--batch_size=3", "--steps=99", "--epochs=7", "--log_every=1"]).config, "abc")
    assert run.config().train.steps == 99


def test_the_directory_is_named_after_the_flagfile_unless_given():
    for argv in (["--flagfile=flags/cmpm_flowers.cfg"], ["--flagfile", "flags/cmpm_flowers.cfg"]):
        command = flags.parse([*argv, "--image_weights=none"])
        assert RunDirectory.of(command.config, command.name).path == pathlib.Path("runs/cmpm_flowers")
    command = flags.parse([])
    assert RunDirectory.of(command.config, command.name).path == pathlib.Path("runs/cmpm")
    named = dataclasses.replace(command.config, train=dataclasses.replace(command.config.train, run="elsewhere"))
    assert RunDirectory.of(named, "x").path == pathlib.Path("elsewhere")
    assert RunDirectory.of(named, "x", path="here").path == pathlib.Path("here")


def test_a_run_goes_on_though_its_method_gained_a_parameter(tmp_path: pathlib.Path):
    run = RunDirectory(tmp_path)
    config = flags.parse(["--method=cmpm"]).config
    run.open(config, "abc")
    recorded = json.loads(run.config_file.read_text())
    del recorded["cmpm.classifier"]
    run.config_file.write_text(json.dumps(recorded))
    run.open(config, "abc")
    assert run.config() == config
    run.config_file.write_text(json.dumps(recorded))
    with pytest.raises(UserError, match=r"--cmpm\.classifier was 'none', is 'cmpc'"):
        run.open(flags.parse(["--method=cmpm", "--cmpm.classifier=cmpc"]).config, "abc")


def test_a_folder_without_a_config_is_no_run(tmp_path: pathlib.Path):
    with pytest.raises(UserError, match="not a run directory"):
        RunDirectory.existing(str(tmp_path))
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(UserError, match="cannot be read"):
        RunDirectory.existing(str(tmp_path)).config()


def test_clear_keeps_what_the_run_did_not_make(tmp_path: pathlib.Path):
    run = RunDirectory(tmp_path)
    run.open(flags.parse([]).config, "abc")
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "notes.txt").write_text("mine")
    run.clear()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["flags.cfg", "notes.txt"]


@pytest.mark.parametrize("below", ["", "run"])
def test_a_file_is_no_run_directory(tmp_path: pathlib.Path, below: str):
    (tmp_path / "file").write_text("here")
    run = RunDirectory(tmp_path / "file" / below)
    with pytest.raises(UserError, match="cannot be written"), run.locked():
        pass
    with pytest.raises(UserError, match=r"is a file|is not a run directory"):
        RunDirectory.existing(str(run.path))


def test_a_workspace_lies_elsewhere_where_the_run_cannot_be_written(tmp_path: pathlib.Path):
    run = RunDirectory(tmp_path)
    with run.workspace("test") as folder:
        assert folder == run.embeddings("test")
    (folder.parent / "validation").write_text("a file in its place")
    with run.workspace("validation") as folder:
        assert tmp_path not in folder.parents
        folder.mkdir()
    assert not folder.exists()
