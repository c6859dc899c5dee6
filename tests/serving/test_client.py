"""The Python client: where it finds a model, what it says when there is none, and batches of any size."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import tensorflow as tf

from tests.serving.conftest import CAPTIONS, DIM, VALID
from xmkeras.errors import UserError
from xmkeras.serving.client import SearchModel, find_version
from xmkeras.serving.saved_model import METADATA_FILE


@pytest.fixture(scope="module")
def model(exported) -> SearchModel:
    return SearchModel(exported.directory, batch_size=3)


def test_a_model_is_found_from_the_run_down_to_the_version(exported):
    places = [exported.directory, exported.version.parent, exported.version]
    assert {find_version(place) for place in places} == {exported.version}
    assert find_version(str(exported.directory)) == exported.version


def test_the_highest_version_is_taken(tmp_path):
    for name in ("9", "10", "new"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "saved_model.pb").write_bytes(b"")
    assert find_version(tmp_path) == tmp_path / "10"


def test_images_come_in_batches_and_keep_their_rows(exported, model, encoded):
    vectors, valid = model.encode("image", encoded)
    np.testing.assert_array_equal(valid, VALID)
    whole = [one if good else encoded[0] for one, good in zip(encoded, VALID, strict=True)]
    np.testing.assert_allclose(vectors[VALID], exported.image_vectors(whole)[VALID], atol=1e-5)
    np.testing.assert_array_equal(vectors[~VALID], 0.0)
    assert vectors.dtype == np.float32


def test_texts_come_in_batches(exported, model):
    vectors, valid = model.encode("text", CAPTIONS)
    np.testing.assert_allclose(vectors, exported.text_vectors(CAPTIONS), atol=1e-5)
    assert valid.all()


def test_nothing_in_gives_nothing_out(model):
    for side in ("image", "text"):
        vectors, valid = model.encode(side, [])
        assert vectors.shape == (0, DIM)
        assert valid.shape == (0,)
        ids, scores, valid = model.search("image", side, [], 2)
        assert (ids.shape, scores.shape, valid.shape) == ((0, 2), (0, 2), (0,))


def test_search_in_the_packed_gallery(exported, model, encoded):
    unit = exported.gallery.vectors / np.linalg.norm(exported.gallery.vectors, axis=1, keepdims=True)
    cosines = exported.text_vectors(CAPTIONS) @ unit.T
    ids, scores, _ = model.search("image", "text", CAPTIONS, 3)
    order = np.argsort(-cosines, axis=1)[:, :3]
    assert ids.tolist() == exported.gallery.ids[order].tolist()
    np.testing.assert_allclose(scores, np.take_along_axis(cosines, order, 1), atol=1e-5)
    ids, _, valid = model.search("image", "image", encoded, 99)
    assert ids.shape == (len(encoded), len(exported.gallery))
    np.testing.assert_array_equal(valid, VALID)


def test_what_the_model_says_of_itself(exported, model):
    assert model.embedding_dim == DIM
    assert model.credit == "Drawn by a test"
    assert model.similarity == "cosine"
    assert {side: spec.name for side, spec in model.inputs.items()} == {"image": "image_bytes", "text": "text"}
    assert (model.holds("image"), model.holds("text")) == (True, False)
    assert len(model.fingerprint) == 64


def test_a_model_without_a_gallery_says_how_to_get_one(bare):
    with pytest.raises(UserError, match="--gallery=test"):
        bare.search("image", "text", ["a"], 1)


def test_a_description_from_before_the_similarity_means_the_cosine(exported, tmp_path):
    shutil.copytree(exported.version, tmp_path / "1")
    description = json.loads((tmp_path / "1" / METADATA_FILE).read_text("utf-8"))
    del description["similarity"], description["inputs"]
    (tmp_path / "1" / METADATA_FILE).write_text(json.dumps(description))
    old = SearchModel(tmp_path)
    assert old.similarity == "cosine"
    assert old.search("image", "text", CAPTIONS, 3)[0].shape == (len(CAPTIONS), 3)


def test_vectors_with_the_signatures_of_before_have_to_be_exported_again(exported, tmp_path):
    module = tf.Module()
    module.encode = tf.function(lambda rows: {"embedding": rows})
    encode = module.encode.get_concrete_function(tf.TensorSpec([None, 3], tf.float32, name="image_features"))
    tf.saved_model.save(module, str(tmp_path / "1"), signatures={"encode_image_features": encode})
    (tmp_path / "1" / "assets.extra").mkdir()
    shutil.copy(exported.version / METADATA_FILE, tmp_path / "1" / METADATA_FILE)
    with pytest.raises(UserError, match="signatures of an older xmkeras; export it again"):
        SearchModel(tmp_path)


def test_no_such_folder(tmp_path):
    with pytest.raises(UserError, match="There is no folder"):
        SearchModel(tmp_path / "missing")


def test_a_run_that_was_not_exported(tmp_path):
    with pytest.raises(UserError, match=r"python -m xmkeras\.export --run="):
        SearchModel(tmp_path)


def test_a_saved_model_from_elsewhere(tmp_path):
    tf.saved_model.save(tf.Module(), str(tmp_path / "saved_model" / "1"))
    with pytest.raises(UserError, match="not a SavedModel of xmkeras"):
        SearchModel(tmp_path)


def test_a_damaged_saved_model(exported, tmp_path):
    version = tmp_path / "1"
    shutil.copytree(exported.version, version)
    (version / "saved_model.pb").write_bytes(b"damaged")
    with pytest.raises(UserError, match="Cannot load the SavedModel"):
        SearchModel(tmp_path)
    (version / METADATA_FILE).write_text("{")
    with pytest.raises(UserError, match=METADATA_FILE):
        SearchModel(tmp_path)
