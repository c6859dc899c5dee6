"""Tables for the screen and for Markdown, and eval.json."""

import json

from tests.retrieval.examples import squares
from xmkeras.retrieval.protocols import reed, retrieval
from xmkeras.retrieval.tables import format_table, markdown_table, write_eval


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
