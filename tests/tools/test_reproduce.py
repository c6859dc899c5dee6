"""A table's rows are run with every seed, once, and written beside published figures."""

from __future__ import annotations

import csv
import json
import pathlib

import numpy as np
import pytest

from tests.conformance.cases import SMALL, write_pairs
from tests.data.feature_pairs import write_wikipedia
from tools import reproduce
from tools.reproduce import TABLES, Row, Table
from xmkeras import flags
from xmkeras.config import Config
from xmkeras.errors import UserError
from xmkeras.retrieval.linear_maps import recalls, unit_rows
from xmkeras.run import evaluation
from xmkeras.run.directory import RunDirectory

TABLE = Table(
    {"R@1": "way/R@1", "NMI": "NMI"},
    (Row("one & only", published={"R@1": 91.67}), Row("two"), Row("three")),
    title="Small",
    note="In brackets: published.",
    digits=2,
)
RESULTS = {
    "one & only": [{"way/R@1": 10.0, "NMI": 1.0, "minutes": 1.0}, {"way/R@1": 20.0, "NMI": 2.0, "minutes": 2.0}],
    "two": [{"way/R@1": 1.0, "NMI": 2.0}],
    "three": [],
}


def test_markdown_has_mean_spread_and_what_was_published():
    title, note, *lines = [line for line in reproduce.markdown(TABLE, RESULTS).splitlines() if line]
    assert (title, note) == ("# Small", "In brackets: published.")
    assert lines == [
        "|  | R@1 | NMI | seeds | minutes a run |",
        "|---|---|---|---|---|",
        "| one & only | 15.00 ± 7.07 (91.67) | 1.50 ± 0.71 | 2 | 1.5 |",
        "| two | 1.00 | 2.00 | 1 | 0.0 |",
    ]


def test_csv_has_every_seed():
    rows = list(csv.reader(reproduce.comma_separated(TABLE, RESULTS).splitlines()))
    assert rows[0] == ["row", "seed", "R@1", "NMI"]
    assert rows[1:3] == [["one & only", "0", "10.0", "1.0"], ["one & only", "1", "20.0", "2.0"]]
    assert ["one & only", "published", "91.67", ""] in rows
    assert ["two", "mean", "1.0", "2.0"] in rows


def test_latex_escapes_and_has_a_line_of_published_figures():
    lines = reproduce.latex(TABLE, RESULTS).splitlines()
    assert r"one \& only & 15.00 $\pm$ 7.07 & 1.50 $\pm$ 0.71 \\" in lines
    assert r"published & 91.67 &  \\" in lines


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        '{"columns": {}}',
        '{"columns": {}, "rows": []}',
        '{"columns": {"a": "a"}, "rows": [{"name": "x"}, {"name": "x"}]}',
        '{"columns": {"a": "a"}, "rows": [{"name": "x", "published": {"b": 1}}]}',
        '{"columns": {"a": "a"}, "rows": [{"name": "x", "colour": 1}]}',
        '{"columns": {"a": "a"}, "rows": [{"name": "both", "ensemble": ["x"]}, {"name": "x"}]}',
        '{"columns": {"a": "a"}, "rows": [{"name": "x"}, {"name": "both", "ensemble": ["x"], "flags": ["--ema=0"]}]}',
        '{"columns": {"a": "a"}, "rows": [{"name": "x", "seeds": 1}, {"name": "both", "ensemble": ["x"]}]}',
    ],
)
def test_a_bad_file_is_explained(tmp_path: pathlib.Path, text: str):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(UserError, match=r"a\.json cannot be used"):
        Table.load(str(tmp_path / "a.json"))


@pytest.mark.parametrize("path", sorted(TABLES.glob("*.json")), ids=lambda path: path.stem)
def test_shipped_tables_have_rows_that_differ(path: pathlib.Path):
    table = Table.load(path.stem)
    seen = set()
    for row in table.rows:
        config = flags.parse([*table.flags, *row.flags]).config
        seen.add(json.dumps([config.as_flags(), row.by, dict(row.options), row.ensemble], sort_keys=True))
    assert len(seen) == len(table.rows) > 1


@pytest.mark.usefixtures("plain_tower")
def test_rows_share_features_and_are_measured_once(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]):
    data = write_pairs(tmp_path / "pairs", 8, splits=("train", "validation", "test"))
    stage = "--stage=steps=1 frozen=image_backbone/.*"
    given = {
        "columns": {"rsum": "rsum"},
        "flags": [*SMALL, "--source=table", "--labels=image", "--batch_size=8", "--devices=cpu", stage],
        "rows": [
            {"name": "CMPM", "flags": ["--cmpm.classifier=none"]},
            {"name": "CMPC", "flags": ["--cmpm.classifier=cmpc"]},
            {"name": "alone", "flags": ["--cmpm.classifier=softmax"], "seeds": 1},
            {"name": "both", "ensemble": ["CMPM", "CMPC"]},
            {"name": "rows", "by": "tests.tools.test_reproduce:number_of_rows", "options": {"times": 2}, "seeds": 1},
        ],
    }
    (tmp_path / "a.json").write_text(json.dumps(given))
    out = tmp_path / "out"
    arguments = [f"--table={tmp_path / 'a.json'}", f"--out={out}", "--seeds=3,4", "--", f"--table={data}"]
    shown = []
    for _ in range(2):
        assert reproduce.main(arguments) == 0
        shown.append(capsys.readouterr().out)
    table = (out / "table.md").read_text()
    assert all(text.endswith(f"{table}\n") for text in shown)
    assert "step 1/1" in shown[0]
    assert "step 1/1" not in shown[1]
    assert "| rows | 16.0 | 1 |" in shown[0]
    # Of the training, validation and test images, for both rows and seeds.
    assert len(list((out / "features").iterdir())) == 3 * len({"3", "4"})
    assert json.loads((out / "cmpc" / "seed-4" / "test.json").read_text())["step"] == 1
    assert {path.parts[-3] for path in out.glob("*/*/checkpoints")} == {"cmpm", "cmpc"}  # which the ensemble needs
    assert not list(out.glob("*/*/embeddings"))
    for seed in (3, 4):
        record = json.loads((out / "both" / f"seed-{seed}" / "test.json").read_text())
        expected = rsum_of_mean_scores([out / row / f"seed-{seed}" for row in ("cmpm", "cmpc")])
        assert record["rsum"] == pytest.approx(expected)
    assert table.startswith("|  | rsum | seeds |")
    assert reproduce.main([*arguments[:3], "--rows=nothing"]) == 2
    assert "CMPM, CMPC, alone, both, rows" in capsys.readouterr().err


def rsum_of_mean_scores(runs: list[pathlib.Path]) -> float:
    """Recalls both ways by the mean of the cosines of several runs on the test split."""
    scores = []
    for path in runs:
        run = RunDirectory(path)
        measured = evaluation.measure(run.config(), run, "test")[0]
        images, texts = (unit_rows(np.asarray(one.vectors)) for one in (measured.images, measured.texts))
        scores.append(texts @ images.T)
    image_of_text = np.array([measured.images.ids.tolist().index(one) for one in measured.texts.ids.tolist()])
    return recalls(np.mean(scores, axis=0), image_of_text)["rsum"]


def test_an_ensemble_alone_brings_what_it_needs(tmp_path: pathlib.Path):
    rows = (Row("a"), Row("b"), Row("c", by="x:y"), Row("a + b", ensemble=("a", "b")))
    table = Table({"a": "a"}, rows)
    table.check_ensembles()
    assert table.chosen(r"\+") == {"a", "b", "a + b"}
    assert table.chosen("^a$") == {"a"}
    assert table.kept() == {"a", "b"}
    run = tmp_path / "a" / "seed-0"
    run.mkdir(parents=True)
    (run / "test.json").write_text('{"a": 1.0}')  # as a table without the ensemble would have left it
    with pytest.raises(UserError, match=r"a/seed-0 was measured without keeping its weights.*; delete it"):
        reproduce.run(Table({"a": "a"}, (Row("a"), Row("e", ensemble=("a",)))), tmp_path, [0], "test")


def number_of_rows(config: Config, split: str, times: int) -> dict[str, float]:
    """A row that is no training."""
    from xmkeras.run.assembly import load_table

    return {"rsum": float(times * len(load_table(config).split(split)))}


def test_figures_that_a_row_lacks_are_named(tmp_path: pathlib.Path):
    row = Row("x", ("--source=features",), by="tests.tools.test_reproduce:nothing")
    with pytest.raises(UserError, match=r"'a' of the row 'x', of which is measured: b, minutes"):
        reproduce.run(Table({"a": "a"}, (row,)), tmp_path, [0], "test")
    with pytest.raises(UserError, match="which is not there"):
        reproduce.run(Table({"a": "a"}, (Row("y", by="tools.nowhere:at_all"),)), tmp_path, [0], "test")


def nothing(config: Config, split: str) -> dict[str, float]:
    return {"b": 0.0}


def test_vectors_take_no_folder_of_features(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]):
    write_wikipedia(tmp_path)
    small = ["--image_hidden=4", "--embedding_dim=3", "--batch_size=9", "--steps=2", f"--data_dir={tmp_path}"]
    arguments = ["--table=daml_wikipedia", f"--out={tmp_path / 'out'}", "--rows=paper", "--seeds=2", "--", *small]
    assert reproduce.main(arguments) == 0
    assert "| the paper's settings | 0." in capsys.readouterr().out
    folder = tmp_path / "out" / "the-paper-s-settings"
    records = [json.loads((folder / f"seed-{seed}" / "test.json").read_text()) for seed in (0, 1)]
    assert records[0]["mAP"] != records[1]["mAP"]


@pytest.mark.parametrize(("text", "seeds"), [("2", [0, 1]), ("3,5", [3, 5])])
def test_seeds_are_a_number_or_a_list(text: str, seeds: list[int]):
    assert reproduce.seeds_of(text) == seeds


def test_a_mistake_is_one_sentence(capsys: pytest.CaptureFixture[str]):
    assert reproduce.main(["--table=nowhere"]) == 2
    assert "daml_wikipedia" in capsys.readouterr().err
    assert reproduce.main(["--table=daml_wikipedia", "--seeds=x"]) == 2
    assert "--seeds=x" in capsys.readouterr().err
