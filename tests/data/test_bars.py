"""Tests of xmkeras/data/progress.py."""

from __future__ import annotations

import sys

import pytest

from xmkeras.data.bars import progress


def test_items_pass_through_and_the_bar_goes_to_standard_error(capsys):
    assert list(progress(iter("abc"), 3, "spelling")) == ["a", "b", "c"]
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "spelling" in captured.err


def test_without_tqdm_it_counts_in_twenty_lines(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "tqdm", None)
    assert list(progress(range(100), 100, "counting")) == list(range(100))
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 20
    assert lines[-1] == "counting: 100/100"


def test_an_error_between_items_is_not_swallowed():
    def items():
        yield 1
        raise KeyError("inside")

    with pytest.raises(KeyError, match="inside"):
        list(progress(items(), 2, "failing"))
