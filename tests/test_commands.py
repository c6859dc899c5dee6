"""The commands in a row, as a user types them, and under the name `xmkeras`."""

from __future__ import annotations

import json
import os
import pathlib
import shutil
import tempfile

import pytest

from tests.conformance.cases import SMALL, write_pairs
from xmkeras import __main__, flags
from xmkeras.errors import UserError
from xmkeras.evaluate import main as evaluate
from xmkeras.export import main as export
from xmkeras.search import main as search
from xmkeras.train import main as train


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    folder = tmp_path_factory.mktemp("commands")
    table = write_pairs(folder / "pairs", 16, splits=("train", "validation", "test"))
    argv = [*SMALL, "--source=table", f"--table={table}", "--batch_size=8", "--steps=6", f"--run={folder / 'run'}"]
    assert train(argv) == 0
    return folder / "run"


def test_evaluate_prints_a_table_and_writes_its_report(run: pathlib.Path, capsys: pytest.CaptureFixture[str]):
    assert evaluate([f"--run={run}"]) == 0
    out = capsys.readouterr().out
    assert "text -> image" in out
    assert "chance" in out
    results = json.loads((run / "eval.json").read_text())
    assert results["split"] == "test"
    assert 0 <= results["rsum"] <= 600
    report = (run / "report.md").read_text()
    assert "| text → image |" in report
    for picture in ("ranks", "training", "text_to_image", "image_to_text"):
        assert f"report/{picture}.png" in report
        assert (run / "report" / f"{picture}.png").stat().st_size > 1000


def test_evaluate_writes_elsewhere_on_request_and_takes_other_data(run: pathlib.Path, tmp_path: pathlib.Path):
    other = write_pairs(tmp_path / "other", 5, splits=("test",))
    assert evaluate([f"--run={run}", f"--table={other}", f"--output={tmp_path / 'report'}"]) == 0
    assert json.loads((tmp_path / "report" / "eval.json").read_text())["text_to_image/gallery"] == 5


def test_export_and_search_the_packed_gallery_and_a_folder(
    run: pathlib.Path, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
):
    assert export([f"--run={run}", "--gallery=test", "--top_k=4"]) == 0
    page = tmp_path / "found.html"
    argv = [f"--model={run}", "--gallery=test", "--text=a red circle", "--text=blue", "--top=3", f"--html={page}"]
    assert search(argv) == 0
    out = capsys.readouterr().out
    assert out.count("test_") >= 6
    assert page.read_text().count("data:image/png") == 6
    folder = run.parent / "pairs"
    argv = [f"--model={run}", f"--images={folder}", f"--image={folder / 'test_3.png'}", f"--index={tmp_path / 'index'}"]
    assert search([*argv, "--top=1"]) == 0
    assert "  1.000  " in capsys.readouterr().out.splitlines()[-1]


@pytest.mark.parametrize(
    ("main", "argv", "words"),
    [
        (search, [], "Which model"),
        (search, ["--model=/nowhere", "--text=x"], "/nowhere"),
        (search, ["--model=x", "--tex=y"], "--text"),
        (evaluate, ["--run=/nowhere"], "not a run directory"),
        (export, ["--run=/nowhere", "--gallery=all"], "gallery|nowhere"),
    ],
)
def test_mistakes_are_user_errors(main, argv: list[str], words: str):
    with pytest.raises(UserError, match=words):
        main(argv)


def test_a_split_that_the_data_lack_is_named(run: pathlib.Path, tmp_path: pathlib.Path):
    other = write_pairs(tmp_path / "other", 5, splits=("train",))
    with pytest.raises(UserError, match="has no rows in split 'test'"):
        evaluate([f"--run={run}", f"--table={other}"])


def test_a_run_of_someone_else_is_measured_and_searched(run: pathlib.Path, capsys: pytest.CaptureFixture[str]):
    """As another user, who may read it and write nowhere near."""
    folder = pathlib.Path(tempfile.mkdtemp())
    shutil.copytree(run, folder / "run")
    shutil.copytree(run.parent / "pairs", folder / "pairs")
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)
    before = os.geteuid()
    try:
        if before == 0:
            os.seteuid(65534)
        argv = [f"--run={folder / 'run'}", f"--table={folder / 'pairs' / 'pairs.csv'}"]
        assert evaluate(argv) == 0
        out = capsys.readouterr().out
        assert "rsum" in out
        assert "cannot be written; --output=DIR writes a report elsewhere" in out
        with tempfile.TemporaryDirectory() as output:
            assert evaluate([*argv, f"--output={output}"]) == 0
            assert (pathlib.Path(output) / "report.md").is_file()
    finally:
        os.seteuid(before)
        for path in (folder, *folder.rglob("*")):
            path.chmod(0o755)
        shutil.rmtree(folder)


def test_one_name_for_all_commands(run: pathlib.Path, capsys: pytest.CaptureFixture[str]):
    assert __main__.run(["--version"]) == 0
    assert __main__.run([]) == 0
    assert "train,evaluate,export,search" in capsys.readouterr().out
    assert __main__.run(["evaluate", f"--run={run}", "--split=validation", f"--output={run / 'v'}"]) == 0
    assert flags.main_guard(__main__.run, ["trian"]) == 2
    assert "choose one of: train" in capsys.readouterr().err
