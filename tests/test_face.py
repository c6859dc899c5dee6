"""The face for library use: the README's lines, and run directories that Python and the commands share."""

from __future__ import annotations

import importlib
import pathlib
import re
import subprocess
import sys

import numpy as np
import pytest

import xmkeras
from tests.conformance.cases import SMALL, write_pairs
from tests.conftest import ROOT
from xmkeras.errors import UserError
from xmkeras.export import main as export
from xmkeras.train import main as train


@pytest.mark.usefixtures("plain_tower")
def test_the_lines_of_the_readme_run(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, capsys):
    (lines,) = re.findall(r"```python\n(import xmkeras\n.*?)```", (ROOT / "README.md").read_text(), re.S)
    assert len(lines.splitlines()) <= 10
    write_pairs(tmp_path, 16, splits=("train", "validation", "test"))
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    exec(lines, names)
    assert 0 <= float(capsys.readouterr().out.strip().splitlines()[-1]) <= 600
    assert np.shape(names["names"]) == np.shape(names["scores"]) == (1, 3)
    assert names["towers"].sides["image"].dim == 512


@pytest.mark.usefixtures("plain_tower")
def test_python_and_the_commands_continue_one_another(tmp_path: pathlib.Path):
    table = write_pairs(tmp_path / "pairs", 16, splits=("train", "validation", "test"))
    sizes = dict(flag.removeprefix("--").split("=") for flag in SMALL)
    config = xmkeras.configure(source="table", table=table, batch_size=8, steps=2, check_images=False, **sizes)
    assert xmkeras.train(config, tmp_path / "run").step == 2
    flagfile = f"--flagfile={tmp_path / 'run' / 'flags.cfg'}"
    assert train([flagfile, "--steps=4"]) == 0
    longer = xmkeras.configure(flagfile=str(tmp_path / "run" / "flags.cfg"), steps=6)
    assert xmkeras.train(longer).step == 6
    results = xmkeras.evaluate(tmp_path / "run", "validation", against=tmp_path / "run")
    assert results["against/rsum"] == 0
    assert export([f"--run={tmp_path / 'run'}", "--gallery=test"]) == 0
    assert xmkeras.load(tmp_path / "run").holds("text")
    assert xmkeras.load_run(tmp_path / "run").step in (2, 4, 6)  # the best of them


def test_mistakes_are_one_sentence(tmp_path: pathlib.Path):
    with pytest.raises(UserError, match=r"Unknown flag --bach_size.*did you mean --batch_size"):
        xmkeras.configure(bach_size=3)
    with pytest.raises(UserError, match="is not a run directory"):
        xmkeras.evaluate(tmp_path)
    with pytest.raises(UserError, match="holds no SavedModel"):
        xmkeras.load(tmp_path)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = xmkeras.nothing


def test_a_command_that_is_imported_does_not_take_a_functions_place():
    module = importlib.import_module("xmkeras.train")
    assert callable(module.main)
    assert xmkeras.train is not module
    assert xmkeras.train.__doc__.startswith("Trains a run")


def test_everything_in_it_is_there_with_a_docstring_and_importing_it_is_light():
    for name in xmkeras.__all__:
        assert getattr(xmkeras, name).__doc__, name
    heavy = "import sys, xmkeras; sys.exit('tensorflow' in sys.modules or 'keras' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", heavy], cwd=ROOT).returncode == 0
