"""Tests of xmkeras/data/drawings.py."""

from __future__ import annotations

import pytest
import tensorflow as tf

from xmkeras.data.drawings import render_missing
from xmkeras.errors import UserError

pytest.importorskip("resvg_py", reason="resvg-py is not installed")
SVG = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 4 4">
<rect width="2" height="4" fill="#ff0000"/></svg>"""


@pytest.fixture
def folders(tmp_path):
    (tmp_path / "svg").mkdir()
    for name in ("one", "two"):
        (tmp_path / "svg" / f"{name}.svg").write_text(SVG)
    return tmp_path / "svg", tmp_path / "png"


def test_drawings_are_squares_on_white(folders):
    svg, png = folders
    render_missing(str(svg), ["one", "two"], str(png), 20)
    assert sorted(path.name for path in png.iterdir()) == ["one.png", "two.png"]
    pixels = tf.io.decode_png((png / "one.png").read_bytes(), channels=4).numpy()
    assert pixels.shape == (20, 20, 4)
    assert pixels[10, 2].tolist() == [255, 0, 0, 255]
    assert pixels[10, 17].tolist() == [255, 255, 255, 255]


def test_only_what_is_missing_or_empty_is_rendered(folders):
    svg, png = folders
    png.mkdir()
    (png / "one.png").write_bytes(b"kept as it is")
    (png / "two.png").touch()
    render_missing(str(svg), ["one", "two"], str(png), 20)
    assert (png / "one.png").read_bytes() == b"kept as it is"
    assert (png / "two.png").read_bytes().startswith(b"\x89PNG")


def test_a_full_cache_needs_no_drawings_and_no_renderer(folders, monkeypatch):
    svg, png = folders
    render_missing(str(svg), ["one"], str(png), 20)
    monkeypatch.setitem(__import__("sys").modules, "resvg_py", None)
    render_missing("/nowhere", ["one"], str(png), 20)


def test_a_rendering_that_breaks_off_leaves_whole_files_only(folders):
    svg, png = folders
    (svg / "two.svg").write_text("no drawing")
    with pytest.raises(UserError, match=r"Cannot render the drawing .*two.svg"):
        render_missing(str(svg), ["one", "two"], str(png), 20)
    assert [path.name for path in png.iterdir()] == ["one.png"]
    (svg / "two.svg").write_text(SVG)
    render_missing(str(svg), ["one", "two"], str(png), 20)
    assert sorted(path.name for path in png.iterdir()) == ["one.png", "two.png"]


def test_a_folder_that_cannot_be_made_names_the_flag(folders, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="choose another --data_dir"):
        render_missing(str(folders[0]), ["one"], str(tmp_path / "file" / "png"), 20)
