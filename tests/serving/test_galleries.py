"""The images that can be searched: a folder embedded once, and the gallery inside the model."""

from __future__ import annotations

import json

import numpy as np
import pytest
import tensorflow as tf

from tests.serving.conftest import CAPTIONS, brute_force, inputs, picture
from tests.serving.toys import distance, image_toy
from xmkeras.errors import UserError
from xmkeras.retrieval.embeddings import EmbeddingSet
from xmkeras.serving.client import SearchModel
from xmkeras.serving.galleries import open_gallery
from xmkeras.serving.saved_model import GALLERY_FILES, export_saved_model

TEXTS = ["a red heart", "two dogs"]


def test_a_folder_is_ranked_by_the_cosine_of_its_embeddings(model, folder, cache):
    said: list[str] = []
    gallery = open_gallery(model, images=str(folder), cache=cache, say=said.append)
    files = sorted(folder.rglob("*.png"))
    vectors, _ = model.encode("image", [file.read_bytes() for file in sorted(folder.rglob("*.*"))])
    vectors = vectors[np.linalg.norm(vectors, axis=1) > 0]  # without the broken file
    cosines = model.encode("text", TEXTS)[0] @ vectors.T
    names, scores, _ = gallery.search("text", TEXTS, 99)
    for row in range(len(TEXTS)):
        order = np.argsort(-cosines[row])
        assert names[row] == [str(files[place]) for place in order]
        np.testing.assert_allclose(scores[row], cosines[row][order], atol=1e-6)
    assert gallery.path(names[0][0]) == names[0][0]
    assert any("broken.jpg" in line for line in said)


def test_a_folder_is_ranked_by_the_distance_where_the_model_is(exported, folder, tmp_path):
    export_saved_model(exported.towers, tmp_path, inputs=inputs(), similarity="euclidean")
    model = SearchModel(tmp_path)
    gallery = open_gallery(model, images=str(folder), cache=str(tmp_path), say=lambda line: None)
    files = sorted(folder.rglob("*.png"))
    vectors, _ = model.encode("image", [file.read_bytes() for file in files])
    expected = [[distance(text, image) for image in vectors] for text in model.encode("text", TEXTS)[0]]
    names, scores, _ = gallery.search("text", TEXTS, 99)
    ranked, best = brute_force(np.array(expected), list(map(str, files)), 5)
    assert names == ranked
    np.testing.assert_allclose(scores, best, atol=1e-4)


def test_pairs_need_a_packed_gallery(exported, folder, tmp_path):
    def score(outputs):
        return outputs["image"] @ tf.transpose(outputs["text"])

    export_saved_model(exported.towers, tmp_path, inputs=inputs(), similarity="pairs", score=score)
    with pytest.raises(UserError, match="scores pairs, which needs a packed gallery: export it with --gallery=test"):
        open_gallery(SearchModel(tmp_path), images=str(folder), cache=str(tmp_path))


def test_a_folder_is_embedded_once(model, folder, tmp_path, monkeypatch):
    embedded: list[int] = []
    encode = model.encode
    monkeypatch.setattr(model, "encode", lambda side, items: embedded.append(len(items)) or encode(side, items))
    for _ in range(2):
        open_gallery(model, images=str(folder), cache=str(tmp_path), say=lambda line: None)
    assert sum(embedded) == 6


@pytest.mark.parametrize("name", ["", "packed", "test"])
def test_the_packed_gallery(exported, model, name):
    gallery = open_gallery(model, gallery=name)
    unit = exported.gallery.vectors / np.linalg.norm(exported.gallery.vectors, axis=1, keepdims=True)
    best = (exported.text_vectors(TEXTS) @ unit.T).argmax(1)
    names, _, _ = gallery.search("text", TEXTS, 3)
    assert [row[0] for row in names] == exported.gallery.ids[best].tolist()
    assert gallery.credit == "Drawn by a test"


def test_the_packed_gallery_finds_by_picture(exported, model):
    unit = exported.gallery.vectors / np.linalg.norm(exported.gallery.vectors, axis=1, keepdims=True)
    best = int((exported.image_vectors([picture(3)]) @ unit.T).argmax())
    names, scores, valid = open_gallery(model).search("image", [picture(3), b"broken"], 1)
    assert names == [[exported.gallery.ids[best]], [""]]
    assert scores.shape == (2, 1)
    np.testing.assert_array_equal(valid, [True, False])


def test_image_files_of_a_packed_gallery(exported, model):
    known = [str(name) for name in exported.gallery.ids[:3]]
    assert set(json.loads((exported.directory / GALLERY_FILES).read_text("utf-8"))) == set(known)
    gallery = open_gallery(model)
    assert gallery.path(known[0]).endswith(f"/{known[0]}.png")
    assert gallery.path(str(exported.gallery.ids[5])) == ""


def test_a_gallery_that_is_not_there_is_one_sentence(model, bare):
    with pytest.raises(UserError, match="gallery 'test', not 'train'"):
        open_gallery(model, gallery="train")
    with pytest.raises(UserError, match="export it with --gallery=test"):
        open_gallery(bare, gallery="test")
    with pytest.raises(UserError, match="no images packed; export it with --gallery=test, or search a folder"):
        open_gallery(bare)
    with pytest.raises(UserError, match=r"no texts packed; export it with --gallery=test\."):
        open_gallery(model, side="text")


def test_packed_sentences_are_found_by_a_picture(exported, tmp_path):
    vectors = exported.text_vectors(CAPTIONS)
    texts = EmbeddingSet(np.array(CAPTIONS), np.arange(len(CAPTIONS)), vectors)
    export_saved_model(exported.towers, tmp_path, inputs=inputs(), galleries={"text": texts}, gallery_split="test")
    gallery = open_gallery(SearchModel(tmp_path), side="text")
    pictures = [picture(3), picture(4)]
    names, scores, _ = gallery.search("image", pictures, 3)
    assert (names, pytest.approx(scores, abs=1e-5)) == brute_force(
        exported.image_vectors(pictures) @ vectors.T, CAPTIONS, 3
    )


def test_a_model_of_vectors_cannot_embed_a_folder(folder, tmp_path):
    sentence = r"takes image vectors of 8 numbers \(--image_features=FILE.npy\), .* with --images="
    with pytest.raises(UserError, match=sentence):
        open_gallery(image_toy().export(tmp_path), images=str(folder), cache=str(tmp_path))


def test_bad_requests_are_one_sentence(model, folder, cache, tmp_path):
    with pytest.raises(UserError, match="not both"):
        open_gallery(model, images=str(folder), gallery="packed")
    with pytest.raises(UserError, match="holds no texts; search those packed in the model with --gallery=packed"):
        open_gallery(model, images=str(folder), side="text")
    with pytest.raises(UserError, match="missing"):
        open_gallery(model, images=str(tmp_path / "missing"), cache=cache)
