"""The page of search results: whole without other files, safe with any text, links where pictures are large."""

import base64
import re
from html.parser import HTMLParser

import numpy as np
from matplotlib.image import imread

from xmkeras.retrieval.page import Hit, Search, file_source, pixels_source, write_search_page

TINY = b"\x89PNG not really"


class Parsed(HTMLParser):
    """Tags with their attributes, and the text, of a page; checks that tags are closed in order."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.words = [], [], ""
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words += data


def test_a_page_shows_queries_hits_scores_and_the_credit(tmp_path):
    hits = [Hit("heart.png", 0.912, pixels_source(np.zeros((2, 2, 3), np.uint8))), Hit("b.jpg", -0.2, "b.jpg")]
    write_search_page(tmp_path / "out" / "page.html", [Search("a red heart", hits), Search("x", [])], credit="OpenMoji")
    page = Parsed((tmp_path / "out" / "page.html").read_text())
    for words in ("a red heart", "heart.png", "0.912", "-0.200", "OpenMoji", "Nothing was found."):
        assert words in page.words
    pictures = [attributes for tag, attributes in page.tags if tag == "img"]
    assert [picture["alt"] for picture in pictures] == ["heart.png", "b.jpg"]
    assert [attributes["href"] for tag, attributes in page.tags if tag == "a"] == ["b.jpg"]
    assert {"script", "link"}.isdisjoint(tag for tag, _ in page.tags)
    widths = [attributes["style"] for _, attributes in page.tags if "style" in attributes]
    assert widths == ["width:91.2%", "width:0.0%"]


def test_no_text_can_break_out_of_its_place(tmp_path):
    evil = "\"><script>alert('x')</script>{0}&amp;"
    write_search_page(
        tmp_path / "page.html", [Search(evil, [Hit(evil, 0.5, evil)], picture=evil)], title=evil, credit=evil
    )
    page = Parsed((tmp_path / "page.html").read_text())
    assert "script" not in [tag for tag, _ in page.tags]
    assert page.words.count("<script>") >= 4
    assert [attributes["src"] for tag, attributes in page.tags if tag == "img"] == [evil, evil]


def test_small_files_are_embedded_and_large_ones_linked(tmp_path):
    image = tmp_path / "a folder" / "b & c#1.PNG"
    image.parent.mkdir()
    image.write_bytes(TINY)
    page = tmp_path / "pages" / "page.html"
    assert file_source(image, page) == "data:image/png;base64," + base64.b64encode(TINY).decode()
    assert file_source(image, page, embed_up_to=3) == "../a%20folder/b%20%26%20c%231.PNG"


def test_files_that_are_gone_or_of_no_known_type_are_linked(tmp_path):
    (tmp_path / "x.tiff").write_bytes(TINY)
    assert file_source(tmp_path / "x.tiff", tmp_path / "page.html") == "x.tiff"
    assert file_source(tmp_path / "gone.jpg", tmp_path / "page.html") == "gone.jpg"


def test_pixels_survive_as_png(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    kind, data = re.fullmatch(r"data:image/(\w+);base64,(.*)", pixels_source(pixels)).groups()
    assert kind == "png"
    (tmp_path / "x.png").write_bytes(base64.b64decode(data))
    np.testing.assert_array_equal(np.round(imread(tmp_path / "x.png") * 255), pixels)
