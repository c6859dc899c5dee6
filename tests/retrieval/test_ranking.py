"""Ranks against loop twins, the tie vectors, bounded memory and exact ties."""

import json
import pathlib
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.reference import ranking as reference
from xmkeras.retrieval.ranking import ranks, ranks_both_ways, relevant_ranks, top_k, top_k_of_others
from xmkeras.retrieval.scores import normalised
from xmkeras.retrieval.sequences import Sequences

VECTORS = json.loads((pathlib.Path(__file__).parent.parent / "vectors.json").read_text())
TIES = ("pessimistic", "optimistic", "index")


def table_score(table: np.ndarray):
    """A score that looks pairs of numbered items up, so that a test can prescribe every score."""
    return lambda left, right: table[np.ix_(left, right)]


@st.composite
def tables(draw):
    """Scores with many ties, some NaN and infinities, keys of which some have no partner."""
    queries, gallery = draw(st.integers(1, 6)), draw(st.integers(1, 8))
    values = st.sampled_from([0.0, 0.25, 0.5, 1.0, float("nan"), float("-inf")])
    flat = draw(st.lists(values, min_size=queries * gallery, max_size=queries * gallery))
    keys = st.integers(0, 3)
    query_keys = draw(st.lists(keys, min_size=queries, max_size=queries))
    gallery_keys = draw(st.lists(keys, min_size=gallery, max_size=gallery))
    return np.array(flat, np.float32).reshape(queries, gallery), query_keys, gallery_keys


@settings(max_examples=200, deadline=None)
@given(tables(), st.sampled_from(TIES))
def test_ranks_equal_the_loop_twin(case, ties):
    table, query_keys, gallery_keys = case
    numbers = [np.arange(size) for size in table.shape]
    expected = reference.ranks(table, query_keys, gallery_keys, ties)
    back = reference.ranks(table.T, gallery_keys, query_keys, ties)
    score = table_score(table)
    assert ranks(*numbers, query_keys, gallery_keys, ties=ties, score=score).tolist() == expected
    both = ranks_both_ways(*numbers, query_keys, gallery_keys, ties=ties, score=score)
    assert [side.tolist() for side in both] == [expected, back]


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from(TIES))
def test_cosine_ranks_equal_the_loop_twin_on_vectors_that_tie(seed, ties):
    generator = np.random.default_rng(seed)
    queries, gallery = (generator.integers(-1, 2, (size, 3)).astype(np.float32) for size in (7, 9))
    query_keys, gallery_keys = (generator.integers(0, 4, size) for size in (7, 9))
    scores = reference.cosine_scores(queries, gallery)
    expected = reference.ranks(scores, query_keys, gallery_keys, ties)
    assert ranks(queries, gallery, query_keys, gallery_keys, ties=ties).tolist() == expected


@pytest.mark.parametrize(("ties", "group"), [("pessimistic",) * 2, ("optimistic",) * 2, ("index", "scan")])
def test_tie_rules_agree_with_the_vectors(ties, group):
    inputs, expected = (VECTORS["recall_ties"][part] for part in ("inputs", "expected"))
    table = np.array(inputs["similarity_images_x_captions"])
    numbers = [np.arange(size) for size in table.shape]
    image_to_text, text_to_image = ranks_both_ways(
        *numbers, np.arange(3), np.array(inputs["caption_to_image"]), ties=ties, score=table_score(table)
    )
    assert image_to_text.tolist() == expected[group]["i2t_ranks"]
    assert text_to_image.tolist() == expected[group]["t2i_ranks"]


def listed(parts):
    """Query -> the ranks of its relevant items."""
    return {
        int(query): ranks[:count].tolist()
        for part in parts
        for query, ranks, count in zip(part.queries, part.ranks, part.relevant, strict=True)
    }


@settings(max_examples=200, deadline=None, derandomize=True)
@given(tables(), st.sampled_from(TIES))
def test_ranks_of_all_relevant_items_equal_a_sort(case, ties):
    table, query_keys, gallery_keys = case
    numbers = [np.arange(size) for size in table.shape]
    found = listed(relevant_ranks(*numbers, query_keys, gallery_keys, ties=ties, score=table_score(table)))
    for query, key in enumerate(query_keys):
        ranking = reference.ranked_relevance(table[query].tolist(), [key == other for other in gallery_keys], ties)
        assert found[query] == np.flatnonzero(ranking).tolist()


@pytest.mark.parametrize("ties", TIES)
@pytest.mark.parametrize("classes", [3, 40, 400])
@pytest.mark.parametrize("spread", [0.0, 0.3, 3.0])
def test_ranks_of_all_relevant_items_equal_the_twin_on_many_tiles(ties, classes, spread):
    generator = np.random.default_rng(classes)
    labels = [generator.integers(0, classes, size) for size in (60, 700)]
    centres = generator.standard_normal((classes, 24))
    vectors = [centres[y] + spread * generator.standard_normal((len(y), 24)) for y in labels]
    vectors[1][::3] = vectors[1][0]
    vectors[1][5], vectors[0][7] = 0, np.nan
    vectors = [v.astype(np.float32) for v in vectors]
    unit = [normalised(v).astype(np.float64) for v in vectors]
    scores = (unit[0] @ unit[1].T).astype(np.float32)
    found = listed(relevant_ranks(*vectors, *labels, ties=ties, chunk_bytes=1))
    for query, key in enumerate(labels[0]):
        ranking = reference.ranked_relevance(scores[query].tolist(), (labels[1] == key).tolist(), ties)
        assert found[query] == np.flatnonzero(ranking).tolist()


def test_first_ranks_are_those_of_the_best_item_and_groups_change_nothing(monkeypatch):
    images, texts, keys, text_keys = many(images=300)
    whole = listed(relevant_ranks(images, texts, keys, text_keys))
    assert [whole[query][0] for query in range(300)] == ranks(images, texts, keys, text_keys).tolist()
    monkeypatch.setattr("xmkeras.retrieval.ranking._HELD_MARKS", 100)
    parts = list(relevant_ranks(images, texts, keys, text_keys))
    assert len(parts) == 10
    assert listed(parts) == whole


def test_an_item_is_left_out_by_its_place_only():
    vectors = np.eye(3, dtype=np.float32)[[0, 0, 1, 2]]
    keys = np.array([0, 0, 0, 1])
    found = listed(relevant_ranks(vectors, vectors, keys, keys, exclude_self=True))
    assert found == {0: [0, 2], 1: [0, 2], 2: [1, 2], 3: []}
    with pytest.raises(ValueError, match="queries themselves"):
        list(relevant_ranks(vectors, vectors[:3], keys, keys[:3], exclude_self=True))


def test_memory_of_all_relevant_ranks_is_bounded_for_one_class(monkeypatch):
    monkeypatch.setattr("xmkeras.retrieval.ranking._HELD_MARKS", 2**14)
    vectors = np.random.default_rng(0).standard_normal((1200, 16)).astype(np.float32)
    keys = np.zeros(1200)
    tracemalloc.start()
    for part in relevant_ranks(vectors, vectors, keys, keys, chunk_bytes=2**16):
        assert part.ranks.size <= 2**14
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1200 * 1200 * 4


def many(seed=0, images=700, captions=3, dim=96):
    generator = np.random.default_rng(seed)
    vectors = generator.standard_normal((images, dim)).astype(np.float32)
    texts = np.repeat(vectors, captions, axis=0) + 2 * generator.standard_normal((images * captions, dim))
    order = generator.permutation(len(texts))
    keys = np.array([f"image {number}" for number in range(images)])
    return vectors, texts.astype(np.float32)[order], keys, np.repeat(keys, captions)[order]


def brute_force(queries, gallery, query_keys, gallery_keys):
    unit = [v.astype(np.float64) / np.linalg.norm(v.astype(np.float64), axis=1)[:, None] for v in (queries, gallery)]
    scores = unit[0] @ unit[1].T
    relevant = query_keys[:, None] == gallery_keys
    best = np.where(relevant, scores, -np.inf).max(axis=1)
    return ((scores >= best[:, None]) & ~relevant).sum(axis=1)


def test_many_tiles_equal_a_full_sort_both_ways():
    images, texts, keys, text_keys = many()
    both = ranks_both_ways(images, texts, keys, text_keys, chunk_bytes=2**18)
    np.testing.assert_array_equal(both[0], brute_force(images, texts, keys, text_keys))
    np.testing.assert_array_equal(both[1], brute_force(texts, images, text_keys, keys))
    np.testing.assert_array_equal(both[0], ranks(images, texts, keys, text_keys))
    np.testing.assert_array_equal(both[1], ranks(texts, images, text_keys, keys))


@pytest.mark.parametrize("ties", TIES)
def test_chunk_size_changes_nothing_among_duplicates(ties):
    images, texts, keys, text_keys = many(images=300)
    texts[::2] = texts[1]  # Half of the gallery ties, in every tile.
    images[::3] = images[0]
    whole = ranks_both_ways(images, texts, keys, text_keys, ties=ties, chunk_bytes=2**24)
    for chunk_bytes in (1, 2**18):
        parts = ranks_both_ways(images, texts, keys, text_keys, ties=ties, chunk_bytes=chunk_bytes)
        assert [way.tolist() for way in parts] == [way.tolist() for way in whole]


def test_a_collapsed_model_retrieves_nothing_unless_optimism_is_asked_for():
    same = np.full((300, 77), 0.3, np.float32)
    keys = np.arange(300)
    assert (ranks(same, same, keys, keys) == 299).all()
    assert (ranks(same, same, keys, keys, ties="optimistic") == 0).all()
    assert ranks(same, same, keys, keys, ties="index").tolist() == list(range(299, -1, -1))


def test_nan_embeddings_come_last_under_every_rule():
    vectors = np.eye(4, dtype=np.float32)
    broken = vectors.copy()
    broken[1] = np.nan
    keys = np.arange(4)
    for ties in TIES:
        assert ranks(vectors, broken, keys, keys, ties=ties).tolist() == [0, 3, 0, 0]
        assert ranks(broken, vectors, keys, keys, ties=ties)[1] == 3
    assert (ranks(np.full_like(vectors, np.nan), vectors, keys, keys, ties="optimistic") == 3).all()


def test_a_zero_vector_ties_with_everything():
    vectors = np.eye(3, dtype=np.float32)
    vectors[0] = 0
    assert ranks(vectors, vectors, np.arange(3), np.arange(3)).tolist() == [2, 0, 0]


def test_a_query_without_a_relevant_item_is_a_miss_at_any_k():
    vectors = np.eye(3, dtype=np.float32)
    assert ranks(vectors, vectors, np.array([0, 1, 9]), np.arange(3)).tolist() == [0, 0, 3]
    assert ranks(vectors[:0], vectors, np.arange(0), np.arange(3)).tolist() == []


def test_memory_stays_far_below_the_matrix_of_scores():
    images, texts, keys, text_keys = many(images=2000, dim=16)
    tracemalloc.start()
    ranks_both_ways(images, texts, keys, text_keys, chunk_bytes=2**18)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2000 * 6000 * 4 / 8


def test_wrong_arguments_say_what_is_wrong():
    vectors = np.eye(3, dtype=np.float32)
    with pytest.raises(ValueError, match="3 items but 2 keys"):
        ranks(vectors, vectors, np.arange(2), np.arange(3))
    with pytest.raises(ValueError, match="'lucky'"):
        ranks(vectors, vectors, np.arange(3), np.arange(3), ties="lucky")
    with pytest.raises(ValueError, match="score returned"):
        ranks(vectors, vectors, np.arange(3), np.arange(3), score=lambda left, right: left[:, :2])


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 12))
def test_top_k_equals_a_stable_sort(seed, k):
    generator = np.random.default_rng(seed)
    table = generator.permutation(700).reshape(7, 100)[:, :10].astype(np.float32)
    table[0, :3] = np.nan
    indices, scores = top_k(np.arange(7), np.arange(10), k, score=table_score(table), chunk_bytes=1)
    worst = np.where(np.isnan(table), -np.inf, table)
    expected = np.argsort(-worst, axis=1, kind="stable")[:, :k]
    np.testing.assert_array_equal(scores, np.take_along_axis(worst, expected, 1))
    np.testing.assert_array_equal(indices[1:], expected[1:])


def test_top_k_of_vectors_over_several_blocks():
    images, texts, _, _ = many(images=400)
    indices, scores = top_k(images, texts, 10, chunk_bytes=1)
    unit = [v / np.linalg.norm(v, axis=1)[:, None] for v in (images, texts)]
    expected = np.argsort(-(unit[0] @ unit[1].T), axis=1, kind="stable")[:, :10]
    np.testing.assert_array_equal(indices, expected)
    np.testing.assert_allclose(scores[:, 0], np.einsum("nd,nd->n", unit[0], unit[1][indices[:, 0]]), rtol=1e-5)
    assert (np.diff(scores, axis=1) <= 0).all()


def test_the_best_of_the_others_leave_the_item_itself_out():
    items = np.array([[1, 0], [1, 0], [1, 0], [0, 1], [1, 2]], np.float32)
    indices, scores = top_k_of_others(np.array([2, 3, 0]), items, 3)
    assert [sorted(row[:2].tolist()) for row in indices[[0, 2]]] == [[0, 1], [1, 2]]
    assert indices[:, 2].tolist()[::2] == [4, 4]
    assert indices[1, 0] == 4
    np.testing.assert_allclose(scores[0], [1, 1, 5**-0.5], rtol=1e-6)
    assert top_k_of_others(np.array([4]), items, 99)[0].shape == (1, 4)


def test_sequences_are_sent_to_the_score_matrix():
    items = Sequences(np.zeros((3, 2), np.float32), np.array([0, 1, 3]))
    with pytest.raises(ValueError, match=r"score_matrix\.compute"):
        ranks(items, items, np.arange(2), np.arange(2))
