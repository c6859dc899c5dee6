"""Search in a folder and in a packed gallery: right pictures, clear sentences, the index reused."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tests.serving.conftest import DIM, SIZE, picture
from xmkeras.errors import UserError
from xmkeras.serving.client import SearchModel
from xmkeras.serving.saved_model import GALLERY_FILES, export_saved_model
from xmkeras.serving.searching import Found, converse, find, format_found, open_gallery

TEXTS = ["a red heart", "two dogs"]


@pytest.fixture(scope="module")
def model(exported) -> SearchModel:
    return SearchModel(exported.directory)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photographs")
    (folder / "more").mkdir()
    for seed in range(5):
        (folder / ("more" if seed > 2 else ".") / f"{seed}.png").write_bytes(picture(seed))
    (folder / "broken.jpg").write_bytes(b"broken")
    return folder


@pytest.fixture(scope="module")
def cache(tmp_path_factory) -> str:
    return str(tmp_path_factory.mktemp("cache"))


def test_a_folder_is_ranked_by_the_towers_cosine(exported, model, folder, cache):
    said: list[str] = []
    gallery = open_gallery(model, images=str(folder), cache=cache, say=said.append)
    files = sorted(folder.rglob("*.png"))
    cosines = exported.text_vectors(TEXTS) @ exported.image_vectors([file.read_bytes() for file in files]).T
    for row, found in enumerate(find(gallery, texts=TEXTS, top=99)):
        order = np.argsort(-cosines[row])
        assert found.query == TEXTS[row]
        assert found.names == [str(files[place]) for place in order]
        np.testing.assert_allclose(found.scores, cosines[row][order], atol=1e-5)
        assert gallery.path(found.names[0]) == found.names[0]
    assert any("6 of 6" in line for line in said)
    assert any("broken.jpg" in line for line in said)


def test_a_folder_is_embedded_once(model, folder, cache):
    open_gallery(model, images=str(folder), cache=cache, say=lambda line: None)
    said: list[str] = []
    open_gallery(model, images=str(folder), cache=cache, say=said.append)
    assert not [line for line in said if line.startswith("Embedding")]


def test_a_picture_finds_itself(model, folder, cache):
    gallery = open_gallery(model, images=str(folder), cache=cache, say=lambda line: None)
    query = str(folder / "more" / "4.png")
    [found] = find(gallery, images=[query], top=2)
    assert found.picture
    assert found.names[0] == query
    assert found.scores[0] == pytest.approx(1.0, abs=1e-5)
    assert len(found.names) == 2


@pytest.mark.parametrize("name", ["", "packed", "test"])
def test_the_packed_gallery(exported, model, name):
    gallery = open_gallery(model, gallery=name)
    unit = exported.gallery.vectors / np.linalg.norm(exported.gallery.vectors, axis=1, keepdims=True)
    best = (exported.text_vectors(TEXTS) @ unit.T).argmax(1)
    found = find(gallery, texts=TEXTS, top=3)
    assert [one.names[0] for one in found] == exported.gallery.ids[best].tolist()
    assert gallery.credit == "Drawn by a test"


def test_the_packed_gallery_finds_by_picture(exported, model, tmp_path):
    (tmp_path / "query.png").write_bytes(picture(3))
    unit = exported.gallery.vectors / np.linalg.norm(exported.gallery.vectors, axis=1, keepdims=True)
    best = int((exported.image_vectors([picture(3)]) @ unit.T).argmax())
    [found] = find(open_gallery(model), images=[str(tmp_path / "query.png")], top=1)
    assert found.names == [exported.gallery.ids[best]]


def test_image_files_of_a_packed_gallery(exported, tmp_path):
    files = {str(name): f"{name}.png" for name in exported.gallery.ids[:3]} | {"unknown": "x.png"}
    options = {"image_size": SIZE, "embedding_dim": DIM, "gallery_split": "validation"}
    export_saved_model(exported.towers, tmp_path, gallery=exported.gallery, gallery_files=files, **options)
    assert set(json.loads((tmp_path / GALLERY_FILES).read_text("utf-8"))) == set(exported.gallery.ids[:3])
    gallery = open_gallery(SearchModel(tmp_path), gallery="validation")
    assert gallery.path(str(exported.gallery.ids[0])).endswith(f"/{exported.gallery.ids[0]}.png")
    assert gallery.path(str(exported.gallery.ids[5])) == ""
    with pytest.raises(UserError, match="gallery 'validation', not 'test'"):
        open_gallery(SearchModel(tmp_path), gallery="test")

    export_saved_model(exported.towers, tmp_path, image_size=SIZE, embedding_dim=DIM)
    assert not (tmp_path / GALLERY_FILES).exists()
    bare = SearchModel(tmp_path)
    with pytest.raises(UserError, match="export it with --gallery=test"):
        open_gallery(bare, gallery="test")
    with pytest.raises(UserError, match="Say what to search"):
        open_gallery(bare)


def test_bad_requests_are_one_sentence(model, folder, cache, tmp_path):
    with pytest.raises(UserError, match="not both"):
        open_gallery(model, images=str(folder), gallery="packed")
    with pytest.raises(UserError, match="missing"):
        open_gallery(model, images=str(tmp_path / "missing"), cache=cache)
    gallery = open_gallery(model)
    with pytest.raises(UserError, match="--top=0"):
        find(gallery, texts=["a"], top=0)
    with pytest.raises(UserError, match="Cannot read the image"):
        find(gallery, images=[str(tmp_path / "missing.png")])
    with pytest.raises(UserError, match=r"broken\.jpg is not an image that can be decoded"):
        find(gallery, images=[str(folder / "broken.jpg")])


def test_lines_for_the_screen():
    found = Found("two dogs", ["a.png", "b.png"], np.array([0.51234, -0.1], np.float32))
    assert format_found(found) == "two dogs\n  1   0.512  a.png\n  2  -0.100  b.png"
    asked = Found("q.png", ["a.png"], np.array([1.0], np.float32), picture=True)
    assert format_found(asked).splitlines()[0] == "images like q.png"


def test_a_conversation_ends_with_an_empty_line(model, capsys):
    lines = iter(["two dogs", "a red heart", ""])
    found = converse(open_gallery(model), top=2, ask=lambda prompt: next(lines))
    assert [one.query for one in found] == ["two dogs", "a red heart"]
    assert "two dogs\n  1" in capsys.readouterr().out


def test_a_conversation_ends_with_the_input(model):
    def ended(prompt: str) -> str:
        raise EOFError

    assert converse(open_gallery(model), ask=ended) == []
