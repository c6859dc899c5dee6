"""Tests of xmkeras/methods/__init__.py: methods by the name of their file."""

from __future__ import annotations

import dataclasses
import pathlib

import pytest

from xmkeras import flags, methods
from xmkeras.errors import UserError
from xmkeras.method import Method

WITHOUT_ANNOTATIONS_IMPORT = """
import dataclasses
from xmkeras.config import option
from xmkeras.method import Method

class Bare(Method):
    @dataclasses.dataclass(frozen=True)
    class Params:
        margin: float = option(0.5, "a number")
        layers: tuple[str, ...] = option((), "repeatable")

    def losses(self, outputs, batch):
        return {}

METHOD = Bare
"""


def test_every_module_is_a_method():
    assert methods.names() == ["bfan", "cmpm", "contrastive", "daml", "dml", "scan", "timam", "vsrn"]
    for name in methods.names():
        method = methods.load(name)
        assert issubclass(method, Method)
        assert dataclasses.is_dataclass(method.Params)


def test_an_unknown_name_lists_the_choices():
    with pytest.raises(UserError, match="Unknown method 'clip'; choose one of: bfan, cmpm, contrastive, daml, dml, scan, timam, vsrn"):
        methods.load("clip")


def test_a_file_needs_no_import_of_annotations(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "bare.py").write_text(WITHOUT_ANNOTATIONS_IMPORT)
    monkeypatch.setattr(methods, "__path__", [*methods.__path__, str(tmp_path)])
    config = flags.parse(["--method=bare", "--bare.margin=0.25", "--bare.layers=a"]).config
    assert config.method_params == {"margin": 0.25, "layers": ("a",)}
