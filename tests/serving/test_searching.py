"""What a search finds, prints, asks and writes."""

from __future__ import annotations

import numpy as np
import pytest

from tests.serving.conftest import picture
from tests.serving.toys import image_toy
from xmkeras.errors import UserError
from xmkeras.serving.galleries import open_gallery
from xmkeras.serving.queries import read_queries
from xmkeras.serving.searching import Found, converse, find, format_found, write_page

TEXTS = ["a red heart", "two dogs"]


def test_sentences_come_first_then_pictures(exported, model, tmp_path):
    (tmp_path / "query.png").write_bytes(picture(3))
    gallery = open_gallery(model)
    found = find(gallery, read_queries(model, text=TEXTS, image=[str(tmp_path / "query.png")]), top=3)
    assert [one.query for one in found] == [*TEXTS, str(tmp_path / "query.png")]
    assert [one.picture for one in found] == [False, False, True]
    for one, names, scores in zip(found[:2], *gallery.search("text", TEXTS, 3)[:2], strict=True):
        assert one.names == names
        np.testing.assert_array_equal(one.scores, scores)


def test_a_picture_finds_itself(model, folder, cache):
    gallery = open_gallery(model, images=str(folder), cache=cache, say=lambda line: None)
    query = str(folder / "more" / "4.png")
    [found] = find(gallery, read_queries(model, image=[query]), top=2)
    assert found.picture
    assert found.names[0] == query
    assert found.scores[0] == pytest.approx(1.0, abs=1e-5)
    assert len(found.names) == 2


def test_bad_queries_are_one_sentence(model, folder):
    gallery = open_gallery(model)
    with pytest.raises(UserError, match=r"broken\.jpg is not an image that can be decoded"):
        find(gallery, read_queries(model, image=[str(folder / "broken.jpg")]))


def test_lines_for_the_screen():
    found = Found("two dogs", ["a.png", "b.png"], np.array([0.51234, -0.1], np.float32))
    assert format_found(found) == "two dogs\n  1   0.512  a.png\n  2  -0.100  b.png"
    asked = Found("q.png", ["a.png"], np.array([1.0], np.float32), picture=True)
    assert format_found(asked).splitlines()[0] == "images like q.png"
    words = Found("q.png", ["two dogs"], np.array([1.0], np.float32), picture=True, side="text")
    assert format_found(words).splitlines()[0] == "texts like q.png"


def test_a_conversation_ends_with_an_empty_line(model, capsys):
    lines = iter(["two dogs", "a red heart", ""])
    found = converse(open_gallery(model), top=2, ask=lambda prompt: next(lines))
    assert [one.query for one in found] == ["two dogs", "a red heart"]
    assert "two dogs\n  1" in capsys.readouterr().out


def test_a_conversation_ends_with_the_input(model):
    def ended(prompt: str) -> str:
        raise EOFError

    assert converse(open_gallery(model), ask=ended) == []


def test_images_alone_are_not_asked_for_a_sentence(tmp_path):
    gallery = open_gallery(image_toy().export(tmp_path, "image"))
    with pytest.raises(UserError, match="cannot be asked with a sentence"):
        converse(gallery, ask=lambda prompt: "two dogs")


def test_a_page_has_a_section_for_each_query(model, folder, cache, tmp_path):
    gallery = open_gallery(model, images=str(folder), cache=cache, say=lambda line: None)
    found = find(gallery, read_queries(model, text=TEXTS, image=[str(folder / "0.png")]), top=3)
    write_page(str(tmp_path / "found.html"), found, gallery, credit="By me")
    page = (tmp_path / "found.html").read_text("utf-8")
    assert page.count("<section>") == 3
    assert page.count("data:image/png;base64,") == 10
    assert "By me" in page


def test_a_page_of_the_packed_gallery_without_image_files(model, tmp_path):
    gallery = open_gallery(model)
    write_page(str(tmp_path / "found.html"), find(gallery, read_queries(model, text=TEXTS), top=2), gallery)
    page = (tmp_path / "found.html").read_text("utf-8")
    assert "bild-" in page
    assert "Drawn by a test" in page


def test_a_page_in_the_place_of_a_folder(model, tmp_path):
    with pytest.raises(UserError, match=r"cannot be written: Is a directory; .* choose another"):
        write_page(str(tmp_path), [], open_gallery(model))
