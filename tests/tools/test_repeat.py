"""Several seeds: one measurement each, mean and spread, going on."""

from __future__ import annotations

import json

import pytest

from tests.data.feature_pairs import write_wikipedia
from tools.repeat import format_row, main


def test_each_seed_is_measured_once(tmp_path, capsys):
    write_wikipedia(tmp_path)
    out = tmp_path / "tiny"
    argv = ["--flagfile=flags/daml_wikipedia.cfg", f"--out={out}", "--seeds=2", "--", f"--data_dir={tmp_path}"]
    argv += ["--image_hidden=4", "--embedding_dim=3", "--batch_size=9", "--steps=2"]
    assert main(argv) == 0
    first = capsys.readouterr().out.splitlines()[-1]
    assert first.startswith("| tiny | 0.")
    records = [out / f"seed-{seed}" / "test.json" for seed in (0, 1)]
    kept = [record.read_text() for record in records]
    assert json.loads(kept[0])["mAP"] != json.loads(kept[1])["mAP"]
    assert main(argv) == 0
    assert capsys.readouterr().out.splitlines()[-1] == first
    assert [record.read_text() for record in records] == kept


def test_a_wrong_flag_is_one_sentence(tmp_path, capsys):
    assert main(["--flagfile=none.cfg", f"--out={tmp_path}"]) == 2
    assert "none.cfg" in capsys.readouterr().err


def test_mean_and_spread():
    columns = ("image_to_text/mAP", "text_to_image/mAP", "mAP")
    results = [dict.fromkeys((*columns, *(f"{n}@50" for n in columns)), value) for value in (20.0, 30.0)]
    row = format_row("x", results)
    assert row.count("0.250 ± 0.071") == 6
    assert format_row("x", results[:1]).count("0.200 ± 0.000") == 6
    with pytest.raises(KeyError):
        format_row("x", [{"mAP": 1.0}])
