"""Tables for the screen and for Markdown, and eval.json."""

import json

from tests.retrieval.examples import squares
from xmkeras.retrieval.both_ways import retrieval
from xmkeras.retrieval.measured import Split
from xmkeras.retrieval.protocols import load_protocol
from xmkeras.retrieval.protocols.classes import reed
from xmkeras.retrieval.tables import format_table, markdown_table, read_eval, write_eval


def results():
    images, texts, *_ = squares()
    return retrieval(images, texts) | reed(images, texts, k=5)


def test_the_table_for_the_screen_shows_every_figure_beside_chance():
    found = results()
    lines = format_table(found).splitlines()
    assert lines[0].split() == ["R@1", "R@5", "R@10", "median", "rank", "mean", "rank", "queries", "gallery"]
    row = next(line for line in lines if line.startswith("text -> image"))
    assert row.split()[3:6] == [f"{found[f'text_to_image/R@{k}']:.1f}" for k in (1, 5, 10)]
    assert row.split()[-2:] == ["24", "12"]
    assert lines[3].split()[:2] == ["chance", "8.3"]
    assert f"rsum: {found['rsum']:.1f} (chance {found['chance/rsum']:.1f})" in lines
    assert any(line.startswith("image -> text class accuracy: ") for line in lines)
    assert any(line.startswith("text -> image precision@5: ") for line in lines)


def test_a_small_p_is_not_told_as_nothing():
    lines = format_table({"rsum": 300.04, "cca/rsum": 280.0, "cca/p": 0.00019998}).splitlines()
    assert lines[-3:] == ["rsum: 300.0", "CCA, rsum: 280.0", "CCA, p: 0.0002"]


def test_the_markdown_table_has_the_same_cells():
    found = results()
    lines = markdown_table(found).splitlines()
    assert len({line.count("|") for line in lines[:6]}) == 1
    assert lines[2].split("|")[2].strip() == f"{found['text_to_image/R@1']:.1f}"


def test_eval_json_holds_the_numbers_and_replaces_the_old_file(tmp_path):
    found = results()
    write_eval(tmp_path / "run" / "eval.json", {"old": 1})
    write_eval(tmp_path / "run" / "eval.json", {"split": "test", "metrics": found})
    assert json.loads((tmp_path / "run" / "eval.json").read_text()) == {"split": "test", "metrics": found}
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["eval.json"]


def test_the_figures_come_back_without_what_is_said_of_the_run(tmp_path):
    about = {"split": "test", "step": 7, "run": "runs/a", "data": "x", "ties": "index"}
    write_eval(tmp_path / "eval.json", about | {"rsum": 3.5})
    assert read_eval(tmp_path / "eval.json") == {"rsum": 3.5}


def test_figures_of_any_protocol_have_a_row_or_a_line():
    images, texts, words, *_ = squares(images=30)
    folded = load_protocol("folds").measure(Split(images, texts, words, label_kind="image")).results
    table = format_table(folded).splitlines()
    assert [line.split("  ")[0] for line in table[2:10:2]] == [
        "text -> image",
        "image -> text",
        "whole gallery, text -> image",
        "whole gallery, image -> text",
    ]
    assert table[2].split()[-2:] == ["12", "6"]
    assert table[6].split()[-2:] == ["60", "30"]
    whole = f"whole gallery, rsum: {folded['whole/rsum']:.1f} (chance {folded['chance/whole/rsum']:.1f})"
    assert table[10:] == [f"rsum: {folded['rsum']:.1f} (chance {folded['chance/rsum']:.1f})", whole]


def test_images_alone_have_one_row_and_no_ranks():
    images, *_ = squares(images=30)
    found = load_protocol("zero_shot").measure(Split(images, None, [], label_kind="class")).results
    table = format_table(found).splitlines()
    assert table[0].split() == ["R@1", "R@2", "R@4", "R@8", "queries", "gallery"]
    assert table[2].split()[:3] == ["image", "->", "image"]
    assert table[2].split()[-2:] == ["30", "29"]
    assert "classes: 10" in table
    assert f"NMI: {found['NMI']:.1f}" in table
    assert markdown_table(found).splitlines()[3].startswith("|   chance | 6.9 |")
