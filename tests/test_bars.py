"""Tests of xmkeras/bars.py."""

from __future__ import annotations

import pytest

from xmkeras.bars import progress


def test_items_pass_through_and_the_bar_goes_to_standard_error(capsys):
    assert list(progress(iter("abc"), 3, "spelling", after=0)) == ["a", "b", "c"]
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "spelling: 100%" in captured.err
    assert "3/3" in captured.err


def test_items_count_by_their_size(capsys):
    list(progress(["ab", "cde"], 10, "reading", size=len, after=0))
    assert "5/10" in capsys.readouterr().err


def test_what_is_done_at_once_leaves_no_trace(capsys):
    assert list(progress(range(100), 100, "counting")) == list(range(100))
    assert capsys.readouterr().err == ""


def test_an_error_between_items_is_not_swallowed():
    def items():
        yield 1
        raise KeyError("inside")

    with pytest.raises(KeyError, match="inside"):
        list(progress(items(), 2, "failing"))
