"""A sweep: grids and samples, going on where it stopped, the table and its picture."""

from __future__ import annotations

import json
import pathlib

import pytest

from tests.data.feature_pairs import write_npz
from tools import sweep as sweeping
from tools.sweep import Sweep, main, name_of
from tools.sweep_report import markdown, summary
from xmkeras.errors import UserError


@pytest.fixture
def sweep_file(tmp_path: pathlib.Path) -> pathlib.Path:
    table = write_npz(tmp_path / "pairs.npz")
    flags = ["--method=daml", "--source=features", f"--table={table}", "--image_hidden=4", "--embedding_dim=3"]
    given = {
        "flags": [*flags, "--batch_size=4", "--steps=2"],
        "metric": "mAP",
        "grid": {"daml.alpha": [0.1, 1.0], "daml.sigma": [0.0, 0.5]},
    }
    path = tmp_path / "sweep.json"
    path.write_text(json.dumps(given))
    return path


def test_a_killed_sweep_goes_on(sweep_file, tmp_path, monkeypatch, capsys):
    out = tmp_path / "out"
    trained = []
    whole = sweeping.run_trial

    def counting(folder, *rest):
        trained.append(folder.name)
        if len(trained) == 3:
            raise KeyboardInterrupt
        whole(folder, *rest)

    monkeypatch.setattr(sweeping, "run_trial", counting)
    argv = [f"--sweep={sweep_file}", f"--out={out}"]
    assert main(argv) == 130
    assert len((out / "results.csv").read_text().splitlines()) == 3
    assert main(argv) == 0
    assert len(trained) == 5  # two, the killed one, then the two that were left
    assert len(set(trained)) == 4
    assert "4 of 4 trials" in capsys.readouterr().out
    assert (out / "parallel.png").stat().st_size > 3000
    assert not list(out.rglob("checkpoints"))
    rows = (out / "table.md").read_text().splitlines()
    assert rows[0].startswith("| daml.alpha | daml.sigma | trials | mAP | spread |")
    assert len(rows) == 6


def test_seeds_are_averaged():
    records = [
        {"values": {"a": a, "seed": seed}, "value": value, "validation": {"image_to_text/mAP": value + 1}}
        for a, seed, value in ((1, 0, 10.0), (1, 1, 14.0), (2, 0, 30.0), (2, 1, 30.0))
    ]
    table = summary(records, "mAP")
    assert table["a"].tolist() == [2, 1]
    assert table["mAP"].tolist() == [30.0, 12.0]
    assert table["spread"].tolist() == pytest.approx([0.0, 8**0.5])
    assert table["trials"].tolist() == [2, 2]
    assert "| 1 | 2 | 12.00 | 2.83 | 13.00 |" in markdown(table)


def test_random_search_is_seeded(tmp_path):
    given = {"flags": [], "count": 5, "random": {"learning_rate": {"low": 1e-5, "high": 1e-2}, "batch_size": [8, 16]}}
    (tmp_path / "s.json").write_text(json.dumps(given))
    one, two = (Sweep.load(str(tmp_path / "s.json")).trials for _ in range(2))
    assert one == two
    assert len(one) == 5
    assert all(1e-5 <= trial["learning_rate"] <= 1e-2 for trial in one)
    assert all(trial["batch_size"] in (8, 16) for trial in one)


def test_a_trial_is_named_by_its_flags_alone():
    assert name_of({"a": 1, "b": 2}, ["--x"]) == name_of({"b": 2, "a": 1}, ["--x"])
    assert name_of({"a": 1}, ["--x"]) != name_of({"a": 1}, ["--y"])


def test_the_committed_sweep_is_the_papers_grid():
    trials = Sweep.load("tools/sweeps/daml_paper.json").trials
    assert len(trials) == 216
    assert {trial["daml.sigma"] for trial in trials} == {0.001, 0.01, 0.1, 1, 10, 100}


@pytest.mark.parametrize("path", sorted(pathlib.Path("tools/sweeps").glob("*.json")), ids=lambda path: path.stem)
def test_the_flags_of_a_committed_sweep_are_known(path):
    from xmkeras import flags

    sweep = Sweep.load(str(path))
    flags.parse([*sweep.flags, *(f"--{name}={value}" for name, value in sweep.trials[-1].items())])


def test_a_broken_sweep_file_is_explained(tmp_path):
    (tmp_path / "s.json").write_text("{}")
    with pytest.raises(UserError, match="cannot be used"):
        Sweep.load(str(tmp_path / "s.json"))
    assert main(["--sweep=none.json", f"--out={tmp_path}"]) == 2
