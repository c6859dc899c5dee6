"""Tests of tools/prepare_data.py."""

from __future__ import annotations

import pytest

from tests.data.flowers_layout import write_flowers
from tools.prepare_data import main
from xmkeras.errors import UserError


def test_it_says_what_lies_where(tmp_path, capsys):
    write_flowers(tmp_path)
    assert main(["--source=flowers", f"--data_dir={tmp_path}"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "flowers, labelled by class",
        "  train: 16 images, 160 captions, 4 labels",
        "  validation: 8 images, 80 captions, 2 labels",
        "  test: 8 images, 80 captions, 2 labels",
    ]


def test_without_network_it_says_where_to_copy_the_archive(tmp_path, monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    with pytest.raises(UserError, match=f"copy the file to {tmp_path / 'flowers'}"):
        main(["--source=flowers", f"--data_dir={tmp_path}"])
