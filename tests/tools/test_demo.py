"""The demo's own logic: which steps are done, how commands are shown, and its table."""

from __future__ import annotations

import os

import pytest

from tools import demo


def test_a_result_counts_as_done_only_when_newer_than_every_checkpoint(tmp_path):
    checkpoints, result = tmp_path / "checkpoints", tmp_path / "eval.json"
    checkpoints.mkdir()
    assert not demo.is_newer(result, checkpoints)
    for path, second in ((checkpoints / "step-1", 10), (result, 20)):
        path.write_text("x")
        os.utime(path, (second, second))
    os.utime(checkpoints, (10, 10))
    assert demo.is_newer(result, checkpoints)
    (checkpoints / "step-2").write_text("x")
    os.utime(checkpoints / "step-2", (30, 30))
    assert not demo.is_newer(result, checkpoints)


@pytest.mark.parametrize(
    ("argument", "shown"),
    [("--run=runs/demo", "--run=runs/demo"), ("--text=a red heart", '--text="a red heart"')],
)
def test_commands_are_shown_as_a_person_types_them(argument, shown):
    assert demo.quoted(argument) == shown


def test_the_table_sets_each_figure_beside_its_chance():
    metrics = {
        f"{prefix}{way}/{column}": value + offset
        for prefix, value in (("", 40.0), ("chance/", 2.0))
        for way, offset in (("text_to_image", 0.25), ("image_to_text", 0.5))
        for column in demo.COLUMNS
    }
    lines = demo.recall_table(metrics).splitlines()
    assert [line.split()[-1] for line in lines[1:]] == ["40.2", "2.2", "40.5", "2.5"]
    assert lines[1].startswith("text -> image")
    assert len({len(line) for line in lines}) == 1


def test_a_failed_command_stops_the_demo_with_its_status(tmp_path, capfd):
    status = demo.main([f"--run={tmp_path / 'run'}", "--no_such_flag=1"])
    shown = capfd.readouterr()
    assert status == 2
    assert "python -m xmkeras.train --flagfile=flags/cmpm_openmoji.cfg" in shown.out
    assert "no_such_flag" in shown.err
    assert "goes on from it" in shown.err
