"""Exported models of every kind of side: vectors, vectors and words, images alone, and many vectors an item."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from tests.serving.conftest import brute_force
from tests.serving.toys import COUNT, Toy, image_toy, pairs_toy, posterior_toy, vector_toy, words_toy
from xmkeras.errors import UserError
from xmkeras.serving.client import SearchModel
from xmkeras.serving.signatures import SEARCHES, Signatures

LOWEST = {"cosine": -1.0, "euclidean": tf.float32.min, "pairs": tf.float32.min}
KINDS = {
    "cosine": lambda: vector_toy("cosine"),
    "euclidean": lambda: vector_toy("euclidean"),
    "posterior": posterior_toy,
    "words": words_toy,
    "image": image_toy,
    "pairs": lambda: pairs_toy("image", "text"),
    "image pairs": lambda: pairs_toy("image"),
}
ENCODERS = {"serving_default", "encode_image"}


@pytest.fixture(scope="module", params=KINDS)
def exported(request, tmp_path_factory) -> tuple[Toy, SearchModel]:
    toy = KINDS[request.param]()
    return toy, toy.export(tmp_path_factory.mktemp("export"), *toy.towers.sides, top_k=4)


def call(model: SearchModel, name: str, **rows):
    answer = model.signatures[name](**{key: tf.constant(value) for key, value in rows.items()})
    return {key: value.numpy() for key, value in answer.items()}


def test_embeddings_are_those_of_the_towers(exported):
    toy, model = exported
    for side, given in toy.inputs.items():
        answer = call(model, f"encode_{side}", **{given.spec.name: toy.rows[side]})
        for row, expected in enumerate(toy.embeddings[side]):
            found = answer["embedding"][row]
            if toy.similarity == "pairs":
                found = found[answer["mask"][row]]
            if toy.similarity == "cosine":
                expected = expected / np.linalg.norm(expected)
            np.testing.assert_allclose(found, expected, atol=1e-5)


def test_scores_of_pairs(exported):
    toy, model = exported
    if "text" not in toy.inputs:
        assert "score" not in model.signatures
        return
    answer = call(model, "score", **{given.spec.name: toy.rows[side] for side, given in toy.inputs.items()})
    np.testing.assert_allclose(answer["score"], np.diag(toy.scores("image", "text")), atol=1e-5)
    assert answer["valid"].all()


def test_searches_are_the_brute_force_search_by_the_score(exported):
    toy, model = exported
    found = 0
    for gallery in toy.inputs:
        for asked, given in toy.inputs.items():
            name = f"{SEARCHES[gallery]}_by_{asked}"
            if asked == gallery and toy.similarity == "pairs" and len(toy.inputs) > 1:
                assert name not in model.signatures
                continue
            ids, scores = brute_force(toy.scores(asked, gallery), toy.gallery(gallery).ids, 4)
            answer = call(model, name, **{given.spec.name: toy.rows[asked]})
            # The distance of an item to itself is the root of a difference of equal squares, which rounds.
            close = 1e-3 if asked == gallery else 1e-5
            np.testing.assert_allclose(answer["scores"], scores, atol=close)
            assert [[one.decode() for one in row] for row in answer["ids"]] == ids, name
            best = model.search(gallery, asked, toy.rows[asked], 3)
            assert best[0].tolist() == [row[:3] for row in ids]
            np.testing.assert_allclose(best[1], scores[:, :3], atol=close)
            found += 1
    assert found > 0


def test_a_row_that_is_not_finite_costs_itself(exported):
    toy, model = exported
    rows = np.array(toy.rows["image"])
    rows.reshape(COUNT, -1)[2, 1] = np.nan
    good = np.arange(COUNT) != 2
    answer = call(model, "encode_image", image_features=rows)
    np.testing.assert_array_equal(answer["valid"], good)
    np.testing.assert_array_equal(answer["embedding"][2], 0.0)
    np.testing.assert_allclose(
        answer["embedding"][good], call(model, "encode_image", image_features=rows[good])["embedding"], atol=1e-5
    )
    if "text" in toy.inputs:
        given = {toy.inputs["text"].spec.name: toy.rows["text"]}
        score = call(model, "score", image_features=rows, **given)
        np.testing.assert_array_equal(score["valid"], good)
        assert score["score"][2] == LOWEST[toy.similarity]
        assert (score["score"][good] > LOWEST[toy.similarity]).all()
        found = call(model, "search_texts_by_image", image_features=rows)
        assert set(found["ids"][2]) == {b""}
        assert set(found["scores"][2]) == {LOWEST[toy.similarity]}
        assert np.isfinite(found["scores"]).all()
        assert b"" not in found["ids"][good]


@pytest.mark.parametrize(
    ("kind", "galleries", "names"),
    [
        ("image", (), ENCODERS),
        ("image", ("image",), ENCODERS | {"search_by_image", "search_by_image_k"}),
        ("words", (), {*ENCODERS, "encode_text", "score"}),
        ("words", ("text",), {*ENCODERS, "encode_text", "score", *(f"search_texts_by_{e}" for e in (
            "image", "image_k", "text", "text_k"))}),
        ("pairs", ("image",), {*ENCODERS, "encode_text", "score", "search_by_text", "search_by_text_k"}),
    ],
)  # fmt: skip
def test_names_follow_sides_and_galleries(kind, galleries, names):
    toy = KINDS[kind]()
    options = {"similarity": toy.similarity, "score": toy.score}
    module = Signatures(toy.towers, toy.inputs, galleries={side: toy.gallery(side) for side in galleries}, **options)
    assert set(module.functions()) == names


def test_the_description_names_similarity_inputs_and_galleries(exported):
    toy, model = exported
    assert model.similarity == model.metadata["similarity"] == toy.similarity
    assert model.metadata["inputs"] == {side: given.spec.name for side, given in toy.inputs.items()}
    assert model.metadata["image_features"] == list(toy.rows["image"].shape[1:])
    sizes = {f"{side}s": COUNT for side in toy.inputs}
    assert model.metadata["gallery"] == {"split": "test", **sizes, "top_k": 4}
    assert model.embedding_dim == toy.towers.embedding_dim


def test_vectors_for_an_index_are_refused_where_pairs_are_scored(exported):
    toy, model = exported
    if toy.similarity == "pairs":
        with pytest.raises(UserError, match="scores pairs, which needs a packed gallery"):
            model.encode("image", toy.rows["image"])
    else:
        vectors, valid = model.encode("image", toy.rows["image"])
        assert vectors.shape == (COUNT, toy.towers.embedding_dim)
        assert valid.all()


LOAD = """
import sys
sys.modules["keras"] = sys.modules["xmkeras"] = None  # an import of either fails
import json, numpy as np, tensorflow as tf
model = tf.saved_model.load(sys.argv[1])
rows = tf.constant(np.load(sys.argv[2]))
print(json.dumps(model.signatures["search_texts_by_image"](image_features=rows)["scores"].numpy().tolist()))
"""


def test_pairs_are_scored_without_this_library(tmp_path):
    toy = KINDS["pairs"]()
    model = toy.export(tmp_path, "text", top_k=4)
    np.save(tmp_path / "rows.npy", toy.rows["image"])
    command = [sys.executable, "-c", LOAD, str(model.path), str(tmp_path / "rows.npy")]
    done = subprocess.run(command, capture_output=True, text=True, cwd="/", check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    expected = call(model, "search_texts_by_image", image_features=toy.rows["image"])["scores"]
    np.testing.assert_allclose(json.loads(done.stdout.splitlines()[-1]), expected, atol=1e-5)
