"""Tests of xmkeras/flagfiles.py."""

from __future__ import annotations

import pathlib

import pytest

from xmkeras.errors import UserError
from xmkeras.flagfiles import Argument, expand, last_value, stem


def test_flagfiles_are_replaced_by_their_lines_with_where_they_stand(tmp_path: pathlib.Path):
    (tmp_path / "part.cfg").write_text("# a comment\n\n--b=2\n")
    (tmp_path / "run.cfg").write_text("--a=1\n--flagfile=part.cfg\n")
    command = "the command line"
    assert expand(["--x", "1", "--flagfile", str(tmp_path / "run.cfg"), "--y"]) == [
        Argument("--x", command), Argument("1", command),
        Argument("--a=1", f"{tmp_path / 'run.cfg'}, line 1"), Argument("--b=2", f"{tmp_path / 'part.cfg'}, line 3"),
        Argument("--y", command),
    ]  # fmt: skip


def test_shipped_flagfiles_are_found_from_any_folder(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    assert last_value(expand(["--flagfile=flags/daml_wikipedia.cfg"]), "source") == "wikipedia"
    with pytest.raises(UserError, match=r"no flagfile 'none.cfg' .* flags/cmpm_coco.cfg"):
        expand(["--flagfile=none.cfg"])


@pytest.mark.parametrize(
    ("words", "value"),
    [(["--a=1", "--a=2"], "2"), (["--a", "3", "--b=4"], "3"), (["-a=5"], "5"), (["--b=a"], ""), (["a=1"], "")],
)
def test_the_last_value_of_a_flag(words: list[str], value: str):
    assert last_value([Argument(word, "") for word in words], "a") == value


def test_the_stem_is_that_of_the_last_flagfile():
    assert stem(["--flagfile=x/one.cfg", "--a=1", "--flagfile", "two.cfg"]) == "two"
    assert stem(["--a=1"]) == ""
