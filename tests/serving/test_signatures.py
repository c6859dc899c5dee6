"""What the signatures answer: the towers' own numbers, row by row, whatever lies in the other rows."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import tensorflow as tf

from tests.serving.conftest import DIM, VALID, inputs, small_towers
from xmkeras.serving.signatures import Signatures

TEXTS = [
    "a red heart",
    "",
    "Two DOGS!",
    "nothing that is known",
    "ünïcode wörds",
    "a",
    "a dog and a red ball",
]


def images_of(encoded):
    return tf.constant(encoded, tf.string)


def test_images_equal_the_towers(exported, signatures, encoded):
    answer = signatures["encode_image"](image_bytes=images_of(encoded))
    whole = [one for one, valid in zip(encoded, VALID, strict=True) if valid]
    np.testing.assert_array_equal(answer["valid"], VALID)
    expected = exported.image_vectors(whole)
    assert np.abs(expected[0] - expected[1]).max() > 0.05
    np.testing.assert_allclose(answer["embedding"].numpy()[VALID], expected, atol=1e-5)


def test_texts_equal_the_towers(exported, signatures):
    answer = signatures["encode_text"](text=tf.constant(TEXTS))["embedding"].numpy()
    expected = exported.text_vectors(TEXTS)
    assert np.abs(expected[0] - expected[2]).max() > 0.05
    np.testing.assert_allclose(answer, expected, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(answer, axis=1), 1.0, atol=1e-6)


def test_a_broken_or_oversized_image_costs_its_own_row(signatures, encoded):
    embedding = signatures["encode_image"](image_bytes=images_of(encoded))["embedding"].numpy()
    np.testing.assert_array_equal(embedding[~VALID], np.zeros((3, DIM)))
    found = signatures["search_by_image"](image_bytes=images_of(encoded))
    np.testing.assert_array_equal(found["valid"], VALID)
    assert set(found["ids"].numpy()[~VALID].ravel()) == {b""}
    assert set(found["scores"].numpy()[~VALID].ravel()) == {-1.0}
    assert b"" not in found["ids"].numpy()[VALID]


@pytest.mark.parametrize("name", ["encode_image", "encode_text", "score", "search_by_image", "search_by_text_k"])
def test_an_empty_batch_has_an_empty_answer(signatures, name):
    asked = {"image": ["image_bytes"], "score": ["image_bytes", "text"]}.get(name.partition("_")[0], [])
    asked = asked or (["image_bytes"] if "image" in name else ["text"])
    more = {"k": tf.constant(2)} if name.endswith("_k") else {}
    answer = signatures[name](**{one: tf.constant([], tf.string) for one in asked}, **more)
    assert {value.shape[0] for value in answer.values()} == {0}


def test_a_batch_without_a_good_image_is_answered(signatures):
    answer = signatures["encode_image"](image_bytes=images_of([b"x", b""]))
    assert not answer["valid"].numpy().any()
    assert answer["embedding"].shape == (2, DIM)


def test_score_takes_pairs_row_by_row(exported, signatures, encoded):
    answer = signatures["score"](image_bytes=images_of(encoded), text=tf.constant(TEXTS))
    whole = [one for one, valid in zip(encoded, VALID, strict=True) if valid]
    cosines = (exported.image_vectors(whole) * exported.text_vectors(TEXTS)[VALID]).sum(1)
    np.testing.assert_allclose(answer["score"].numpy()[VALID], cosines, atol=1e-5)
    np.testing.assert_array_equal(answer["score"].numpy()[~VALID], -1.0)
    np.testing.assert_array_equal(answer["valid"], VALID)


def test_score_refuses_another_number_of_texts(signatures, encoded):
    with pytest.raises(tf.errors.InvalidArgumentError, match="one pair a row"):
        signatures["score"](image_bytes=images_of(encoded[:1]), text=tf.constant(["a", "b"]))


def ranked(queries, gallery):
    """Ids and cosines of the whole gallery, best first, from loops over pairs."""
    rows = []
    for query in queries:
        pairs = [
            (float(query @ v / np.linalg.norm(v)), str(i)) for i, v in zip(gallery.ids, gallery.vectors, strict=True)
        ]
        rows.append(sorted(pairs, reverse=True))
    return rows


def check_found(found, expected, counts):
    ids, scores = found["ids"].numpy(), found["scores"].numpy()
    for row, (pairs, count) in enumerate(zip(expected, counts, strict=True)):
        assert [one.decode() for one in ids[row, :count]] == [name for _, name in pairs[:count]]
        np.testing.assert_allclose(scores[row, :count], [cosine for cosine, _ in pairs[:count]], atol=1e-5)
        assert set(ids[row, count:]) <= {b""}
        assert set(scores[row, count:]) <= {-1.0}


def test_search_by_text(exported, signatures):
    found = signatures["search_by_text"](text=tf.constant(TEXTS))
    assert found["ids"].shape == (len(TEXTS), 4)
    check_found(found, ranked(exported.text_vectors(TEXTS), exported.gallery), [4] * len(TEXTS))


def test_search_by_image(exported, signatures, encoded):
    found = signatures["search_by_image"](image_bytes=images_of([encoded[0], encoded[2]]))
    check_found(found, ranked(exported.image_vectors([encoded[0], encoded[2]]), exported.gallery), [4, 4])


@pytest.mark.parametrize(
    ("k", "counts"),
    [
        (2, [2, 2, 2]),
        ([3], [3, 3, 3]),
        ([[5]], [5, 5, 5]),
        ([1, 3, 2], [1, 3, 2]),
        ([[1], [3], [2]], [1, 3, 2]),
        (100, [7, 7, 7]),
        ([0, 1, -4], [0, 1, 0]),
        (0, [0, 0, 0]),
    ],
)
def test_k_may_have_any_rank(exported, signatures, k, counts):
    found = signatures["search_by_text_k"](text=tf.constant(TEXTS[:3]), k=tf.constant(k, tf.int32))
    assert found["ids"].shape == (3, max(counts))
    check_found(found, ranked(exported.text_vectors(TEXTS[:3]), exported.gallery), counts)


def test_k_of_image_search_keeps_broken_rows_blank(signatures, encoded):
    found = signatures["search_by_image_k"](image_bytes=images_of(encoded[:3]), k=tf.constant([2, 2, 1]))
    np.testing.assert_array_equal(found["ids"].numpy() == b"", [[False, False], [True, True], [False, True]])


def test_every_input_but_k_has_one_element_a_row(signatures):
    assert set(signatures) == {
        "serving_default",
        "encode_image",
        "encode_text",
        "score",
        "search_by_text",
        "search_by_image",
        "search_by_text_k",
        "search_by_image_k",
    }
    for function in signatures.values():
        for name, spec in function.structured_input_signature[1].items():
            assert spec.shape.rank == (None if name == "k" else 1)
        for spec in function.structured_outputs.values():
            assert spec.shape.rank in (1, 2)


def test_without_a_gallery_nothing_is_searched(exported):
    module = Signatures(exported.towers, inputs())
    assert set(module.functions()) == {"serving_default", "encode_image", "encode_text", "score"}


def ops_of(function) -> set[str]:
    graph = function.graph.as_graph_def()
    nodes = [*graph.node, *(node for part in graph.library.function for node in part.node_def)]
    return {node.op for node in nodes}


def test_no_cudnn_in_a_graph_made_where_a_gpu_is_present(monkeypatch):
    monkeypatch.setattr(sys.modules["keras.src.backend.tensorflow.rnn"], "_is_gpu_available", lambda: True)
    module = Signatures(small_towers(), inputs())
    ops = ops_of(module.functions()["encode_text"])
    assert "StatelessWhile" in ops or "While" in ops
    assert not [op for op in ops if "Cudnn" in op]
