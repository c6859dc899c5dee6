"""What a model may be asked with, and what it says of the rest."""

from __future__ import annotations

import numpy as np
import pytest

from tests.serving.conftest import picture
from tests.serving.toys import IMAGES, REGIONS, TEXTS, image_toy, pairs_toy, vector_toy
from xmkeras.errors import UserError
from xmkeras.serving.client import SearchModel
from xmkeras.serving.queries import read_queries


@pytest.fixture(scope="module")
def vectors(tmp_path_factory) -> SearchModel:
    return vector_toy("cosine").export(tmp_path_factory.mktemp("vectors"))


def test_sentences_and_files_are_read_as_they_are(model, tmp_path):
    (tmp_path / "a.png").write_bytes(picture(3))
    texts, pictures = read_queries(model, text=["two dogs"], image=[str(tmp_path / "a.png")])
    assert (texts.side, texts.names, texts.rows, texts.pictures) == ("text", ["two dogs"], ["two dogs"], False)
    assert (pictures.side, pictures.rows, pictures.pictures) == ("image", [picture(3)], True)
    assert read_queries(model) == []


def test_every_row_of_a_file_of_vectors_is_a_query(vectors, tmp_path):
    np.save(tmp_path / "words.npy", TEXTS[:2])
    np.savez(tmp_path / "pictures.npz", a=IMAGES[:1], b=TEXTS)
    words, pictures = read_queries(
        vectors, text_features=[f"{tmp_path}/words.npy"], image_features=[f"{tmp_path}/pictures.npz:a"]
    )
    assert (words.side, words.names) == ("text", ["words.npy row 1", "words.npy row 2"])
    np.testing.assert_array_equal(words.rows, TEXTS[:2])
    assert (pictures.side, pictures.names) == ("image", ["pictures.npz row 1"])


def test_rows_may_be_matrices(tmp_path):
    model = pairs_toy("image", "text").export(tmp_path)
    np.savez(tmp_path / "regions.npz", regions=REGIONS, flat=IMAGES)
    [asked] = read_queries(model, image_features=[f"{tmp_path}/regions.npz:regions"])
    np.testing.assert_array_equal(asked.rows, REGIONS)
    with pytest.raises(UserError, match="takes finite image_features of 4 x 3 numbers a row"):
        read_queries(model, image_features=[f"{tmp_path}/regions.npz:flat"])


def test_files_that_do_not_fit_are_one_sentence(model, vectors, tmp_path):
    np.save(tmp_path / "wide.npy", np.ones((2, 9)))
    np.save(tmp_path / "broken.npy", np.full((2, 6), np.nan))
    for name in ("wide", "broken"):
        with pytest.raises(UserError, match="takes finite text_features of 6 numbers a row"):
            read_queries(vectors, text_features=[f"{tmp_path}/{name}.npy"])
    with pytest.raises(UserError, match="Cannot read the image"):
        read_queries(model, image=[f"{tmp_path}/missing.png"])


def test_another_kind_of_query_is_told_what_the_model_takes(model, vectors, tmp_path):
    said = r"takes text vectors of 6 numbers \(--text_features=FILE\.npy\), so it cannot be asked with --text\."
    with pytest.raises(UserError, match=said):
        read_queries(vectors, text=["two dogs"])
    with pytest.raises(UserError, match=r"takes image vectors of 8 numbers .* asked with --image\."):
        read_queries(vectors, image=["a.png"])
    with pytest.raises(UserError, match=r'takes sentences \(--text="a red heart"\), .* --text_features=a\.npy'):
        read_queries(model, text_features=["a.npy"])
    alone = image_toy().export(tmp_path)
    with pytest.raises(UserError, match=r"takes image vectors of 8 numbers .* asked with --text\."):
        read_queries(alone, text=["two dogs"])
