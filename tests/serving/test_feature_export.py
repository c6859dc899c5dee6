"""Towers over feature vectors survive export, and search like the others."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from xmkeras.models.features import FeatureInputs, build_feature_towers
from xmkeras.serving.feature_export import export_feature_model
from xmkeras.serving.feature_searching import find_features

from tests.data.feature_pairs import vectors
from xmkeras import search
from xmkeras.errors import UserError
from xmkeras.retrieval.embeddings import EmbeddingSet
from xmkeras.retrieval.ranking import top_k
from xmkeras.serving.client import SearchModel

LABELS = np.arange(12) % 3
IMAGES, TEXTS = (side.astype("f4") for side in vectors(LABELS))


@pytest.fixture(scope="module")
def towers():
    return build_feature_towers(
        FeatureInputs((8, 6), (IMAGES, TEXTS)),
        embedding_dim=5,
        image_hidden="7",
        image_preprocessing="sqrt,standardize,l2",
        text_preprocessing="tfidf,l2",
        hidden_norm="batch",
        hidden_dropout=0.5,
    )


def items(towers, side: str) -> EmbeddingSet:
    encode, given = (
        (towers.encode_image_features, IMAGES) if side == "image" else (towers.encode_text_features, TEXTS)
    )
    return EmbeddingSet(np.array([f"{side}{n}" for n in range(12)]), LABELS, np.asarray(encode(given)))


@pytest.fixture(scope="module", params=["cosine", "euclidean"])
def exported(request, towers, tmp_path_factory):
    folder = tmp_path_factory.mktemp("export")
    export_feature_model(
        towers, folder, distance=request.param, images=items(towers, "image"), texts=items(towers, "text"),
        gallery_split="test", top_k=4,
    )  # fmt: skip
    return request.param, SearchModel(folder)


def test_embeddings_are_those_of_the_towers(exported, towers):
    distance, model = exported
    image = model.signatures["encode_image_features"](image_features=tf.constant(IMAGES))["embedding"].numpy()
    text = model.signatures["encode_text_features"](text_features=tf.constant(TEXTS))["embedding"].numpy()
    for embedding, side in ((image, "image"), (text, "text")):
        expected = items(towers, side).vectors
        if distance == "cosine":
            expected = expected / np.linalg.norm(expected, axis=1, keepdims=True)
        np.testing.assert_allclose(embedding, expected, atol=1e-5)


def test_scores_of_pairs(exported, towers):
    distance, model = exported
    score = model.signatures["score"](image_features=tf.constant(IMAGES), text_features=tf.constant(TEXTS))["score"]
    one, two = items(towers, "image").vectors, items(towers, "text").vectors
    expected = (
        -np.linalg.norm(one - two, axis=1)
        if distance == "euclidean"
        else (one * two).sum(1) / np.linalg.norm(one, axis=1) / np.linalg.norm(two, axis=1)
    )
    np.testing.assert_allclose(score, expected, atol=1e-5)


def test_searches_find_what_ranking_finds(exported, towers):
    distance, model = exported
    asked = {
        "search_by_text_features": ("text", "image"),
        "search_texts_by_image_features": ("image", "text"),
        "search_by_image_features": ("image", "image"),
    }
    for name, (query, gallery) in asked.items():
        given = IMAGES if query == "image" else TEXTS
        answer = model.signatures[name](**{f"{query}_features": tf.constant(given)})
        held = items(towers, gallery)
        expected = top_k(items(towers, query).vectors, held.vectors, 4, score=distance)[0]
        assert [[one.decode() for one in row] for row in answer["ids"].numpy()] == held.ids[expected].tolist(), name


def test_the_command_searches_with_the_rows_of_a_file(exported, tmp_path, capsys):
    _, model = exported
    np.save(tmp_path / "words.npy", TEXTS[:2])
    np.savez(tmp_path / "pictures.npz", a=IMAGES[:1], b=TEXTS)
    argv = [f"--model={model.path}", f"--text_features={tmp_path / 'words.npy'}", "--top=3"]
    assert search.main([*argv, f"--image_features={tmp_path / 'pictures.npz'}:a"]) == 0
    printed = capsys.readouterr().out
    assert "words.npy row 2" in printed
    assert "pictures.npz row 1" in printed
    assert printed.count("  image") == 6
    assert printed.count("  text") == 3


def test_faults(exported, tmp_path, towers):
    _, model = exported
    np.save(tmp_path / "wide.npy", np.ones((2, 9)))
    with pytest.raises(UserError, match="takes finite text_features"):
        find_features(model, text_features=str(tmp_path / "wide.npy"))
    with pytest.raises(UserError, match="--top=0"):
        find_features(model, text_features=str(tmp_path / "wide.npy"), top=0)
    export_feature_model(towers, tmp_path / "bare")
    bare = SearchModel(tmp_path / "bare")
    assert bare.metadata["gallery"] is None
    with pytest.raises(UserError, match="no gallery packed"):
        find_features(bare, text_features=str(tmp_path / "wide.npy"))
    with pytest.raises(UserError, match="top_k=0"):
        export_feature_model(towers, tmp_path / "none", top_k=0)


LOAD = """
import sys
sys.modules["keras"] = sys.modules["xmkeras"] = None  # an import of either fails
import json, tensorflow as tf
model = tf.saved_model.load(sys.argv[1])
answer = model.signatures["encode_text_features"](text_features=tf.ones((1, 6)))
print(json.dumps(answer["embedding"].shape.as_list()))
"""


def test_it_loads_without_this_library(exported):
    command = [sys.executable, "-c", LOAD, str(exported[1].path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd="/", check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert json.loads(done.stdout.splitlines()[-1]) == [1, 5]
