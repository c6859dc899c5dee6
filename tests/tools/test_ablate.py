"""An ablation trains every variant with every seed, once, and prints mean and spread."""

from __future__ import annotations

import json
import pathlib

import pytest

from tests.conformance.cases import SMALL, write_pairs
from tools import ablate
from xmkeras.errors import UserError


def test_the_table_has_mean_spread_and_every_seed():
    results = {
        "one": [{column: float(number) for column in ablate.COLUMNS} for number in (10, 20)],
        "two": [dict.fromkeys(ablate.COLUMNS, 1.0)],
    }
    lines = ablate.table(results).splitlines()
    assert lines[0].startswith("| | text_to_image/R@1 | ")
    assert lines[1].count("|") == lines[0].count("|")
    assert lines[2] == "| one | " + " | ".join(["15.0 ± 7.1"] * 7) + " | 10.0, 20.0 |"
    assert lines[3].endswith("| 1.0 | 1.0 |")


@pytest.mark.parametrize("text", ["", "[]", '{"flags": []}', '{"flags": [], "variants": []}'])
def test_a_bad_file_is_explained(tmp_path: pathlib.Path, text: str):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(UserError, match=r"a\.json cannot be used"):
        ablate.load(str(tmp_path / "a.json"))


@pytest.mark.parametrize("path", sorted(pathlib.Path(ablate.__file__).parent.glob("ablations/*.json")), ids=str)
def test_shipped_ablations_parse(path: pathlib.Path):
    from xmkeras import flags

    common, variants = ablate.load(str(path))
    seen = {json.dumps(flags.parse([*own, *common]).config.as_flags()) for own in variants.values()}
    assert len(seen) == len(variants) > 3


def test_variants_share_features_and_are_measured_once(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]):
    table = write_pairs(tmp_path / "pairs", 8, splits=("train", "validation", "test"))
    common = [*SMALL, "--source=table", "--labels=image", "--batch_size=8", "--devices=cpu"]
    common.append("--stage=steps=1 frozen=image_backbone/.*")
    variants = {"cmpm": ["--cmpm.classifier=none"], "cmpc": ["--cmpm.classifier=cmpc"]}
    (tmp_path / "a.json").write_text(json.dumps({"flags": common, "variants": variants}))
    arguments = [f"--ablation={tmp_path / 'a.json'}", f"--out={tmp_path / 'out'}", "--seeds=3", "--"]
    for _ in range(2):
        assert ablate.main([*arguments, f"--table={table}"]) == 0
        assert "| cmpc | " in capsys.readouterr().out
    folder = tmp_path / "out"
    assert len(list((folder / "features").iterdir())) == 2  # of the training and of the validation images
    assert json.loads((folder / "cmpm" / "seed-3" / "test.json").read_text())["step"] == 1
    assert not list(folder.glob("*/*/checkpoints"))
