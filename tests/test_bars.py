"""Tests of xmkeras/bars.py."""

from __future__ import annotations

import io

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


class _Broken(io.StringIO):
    def write(self, text: str) -> int:
        raise BrokenPipeError

    def flush(self) -> None:
        raise BrokenPipeError


@pytest.mark.parametrize("kind", ["none", "closed", "broken", "without isatty"])
def test_a_stream_that_takes_nothing_stops_no_work(monkeypatch: pytest.MonkeyPatch, kind: str):
    closed = io.StringIO()
    closed.close()
    stream = {"none": None, "closed": closed, "broken": _Broken(), "without isatty": object()}[kind]
    monkeypatch.setattr("sys.stderr", stream)
    assert list(progress(range(5), 5, "working", after=0)) == [0, 1, 2, 3, 4]


def test_a_bar_that_an_error_left_open_moves_no_other(capsys):
    def work(items):
        for item in items:
            raise KeyError(item)

    with pytest.raises(KeyError) as caught:
        work(progress(range(3), 3, "first", after=0))
    list(progress(range(3), 3, "second", after=0))
    assert caught.traceback  # which keeps the first bar alive until here
    assert "\x1b[A" not in capsys.readouterr().err


def test_an_error_between_items_is_not_swallowed():
    def items():
        yield 1
        raise KeyError("inside")

    with pytest.raises(KeyError, match="inside"):
        list(progress(items(), 2, "failing"))
