"""Tests of xmkeras/help.py: the overview, one topic, and everything."""

from __future__ import annotations

import dataclasses
import pathlib

import pytest

from xmkeras import flags
from xmkeras.config import Config, option
from xmkeras.errors import UserError


@dataclasses.dataclass(frozen=True)
class _Options:
    top_k: int = option(10, "results of a query")


def printed(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    with pytest.raises(SystemExit) as ending:
        flags.parse(argv, _Options)
    assert ending.value.code == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("asked", ["--help", "-h"])
def test_the_overview_names_every_flag_once_and_is_short(capsys: pytest.CaptureFixture[str], asked: str):
    words = printed(capsys, asked).split()
    for name in (*Config().as_flags(), "cmpm.epsilon", "top_k"):
        assert name in words
    assert len(printed(capsys, asked).splitlines()) < 40


def test_a_topic_tells_what_its_flags_do_and_their_values(capsys: pytest.CaptureFixture[str]):
    text = printed(capsys, "--help=bert", "--bert_dropout=0.25")
    names = [line.strip() for line in text.splitlines() if line.startswith("  --")]
    assert names == ["--bert=bert_base_en_uncased", "--bert_frozen_layers=-1", "--bert_dropout=0.25"]
    assert "dropout inside BERT" in text
    assert "results of a query" in printed(capsys, "--help=command")
    assert "<adam|sgd>" in printed(capsys, "--help=optimizer")
    assert "--timam.flip=0.2" in printed(capsys, "--help=method", "--method=timam")


def test_all_is_every_flag_with_its_value(capsys: pytest.CaptureFixture[str]):
    text = printed(capsys, "--help=all")
    for name in (*Config().as_flags(), "cmpm.epsilon", "top_k"):
        assert f"  --{name}=" in text


def test_what_a_flagfile_sets_comes_first(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "run.cfg").write_text("--method=timam\n--steps=3\n--epochs=10\n--timam.flip=0.5\n")
    text = printed(capsys, f"--flagfile={tmp_path / 'run.cfg'}", "--help")
    assert "This run sets:\n  --method=timam\n  --steps=3\n  --timam.flip=0.5\n\n" in text
    assert printed(capsys, "--help", f"--flagfile={tmp_path / 'run.cfg'}") == text
    assert "This run sets" not in printed(capsys, "--help")


def test_an_unknown_topic_lists_the_topics():
    with pytest.raises(UserError, match=r"no help on 'birds'; choose a topic of command, data, .*, method, or all"):
        flags.parse(["--help=birds"], _Options)


def test_a_command_without_config_lists_its_own_flags(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit):
        flags.parse_options(["--help"], _Options)
    assert capsys.readouterr().out == "  --top_k=10\n      results of a query\n"
