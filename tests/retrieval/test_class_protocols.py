"""Mean average precision both ways, and the protocol of ACMR, against loop twins."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.reference import ranking as reference
from xmkeras.errors import UserError
from xmkeras.retrieval.class_protocols import acmr, mean_average_precision, per_query
from xmkeras.retrieval.embeddings import EmbeddingSet


def sets(seed, images=9, texts=14, classes=4):
    """Few distinct vectors, so that many scores tie; some zero vectors and duplicates."""
    generator = np.random.default_rng(seed)
    labels = [np.r_[0, generator.integers(0, classes, size - 1)] for size in (images, texts)]
    vectors = [generator.integers(-1, 2, (size, 2)).astype(np.float32) for size in (images, texts)]
    return [EmbeddingSet(np.arange(len(y)).astype(str), y, x) for x, y in zip(vectors, labels, strict=True)]


def rankings(queries, gallery, twin=reference.cosine_scores, ties="pessimistic"):
    rows = zip(twin(queries.vectors, gallery.vectors), queries.labels, strict=True)
    found = [reference.ranked_relevance(row, (gallery.labels == label).tolist(), ties) for row, label in rows]
    return [ranking for ranking in found if any(ranking)]


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.integers(0, 2**32 - 1), st.sampled_from(["pessimistic", "optimistic", "index"]))
def test_mean_average_precision_equals_the_loop_twins(seed, ties):
    images, texts = sets(seed)
    found = mean_average_precision(images, texts, ties=ties, chunk_bytes=1)
    for way, asked in (
        ("text_to_image", rankings(texts, images, ties=ties)),
        ("image_to_text", rankings(images, texts, ties=ties)),
    ):
        assert found[f"{way}/mAP"] == pytest.approx(100 * np.mean([reference.average_precision(r) for r in asked]))
        assert found[f"{way}/MAP@R"] == pytest.approx(100 * np.mean([reference.map_at_r(r) for r in asked]))
        penalty = np.mean([reference.inverse_negative_penalty(r) for r in asked])
        assert found[f"{way}/mINP"] == pytest.approx(100 * penalty)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.integers(0, 2**32 - 1), st.integers(1, 9))
def test_acmr_equals_the_loop_twins(seed, k):
    images, texts = sets(seed)
    figures, curve = acmr(texts, images, k=k, scope=100)
    asked = rankings(texts, images, reference.minus_squared_distances)
    expected = np.mean([reference.average_precision(r, k, "found") for r in asked])
    assert figures[f"mAP@{k}"] == pytest.approx(100 * expected)
    assert figures[f"precision@{k}"] == pytest.approx(100 * np.mean([sum(r[:k]) / k for r in asked]))
    np.testing.assert_allclose(curve, reference.precision_scope(asked, 9, shifted=False))
    shifted = acmr(texts, images, k=k, shifted_scope=True)[1]
    np.testing.assert_allclose(shifted, reference.precision_scope(asked, 9, shifted=True))


def test_the_last_incomplete_batch_is_dropped_only_when_asked_for():
    images, texts = sets(0, texts=14, classes=1)
    assert acmr(texts, images)[0]["queries"] == 14
    dropped = acmr(texts, images, batch_size=4)
    assert dropped[0]["queries"] == 12
    assert dropped[0] == acmr(texts.take(np.arange(12)), images)[0]


def test_a_score_function_takes_images_first_both_ways():
    images, texts = sets(3)
    generator = np.random.default_rng(0)
    table = generator.standard_normal((9, 14)).astype(np.float32)
    numbered = [EmbeddingSet(s.ids, s.labels, np.arange(len(s), dtype=np.float32)[:, None]) for s in (images, texts)]
    found = mean_average_precision(
        *numbered, score=lambda i, t: table[np.ix_(i[:, 0].astype(int), t[:, 0].astype(int))]
    )
    for way, queries, gallery, scores in (
        ("image_to_text", images, texts, table),
        ("text_to_image", texts, images, table.T),
    ):
        asked = rankings(queries, gallery, lambda *_, scores=scores: scores.tolist())
        assert found[f"{way}/mAP"] == pytest.approx(100 * np.mean([reference.average_precision(r) for r in asked]))


def test_a_perfect_and_a_collapsed_model_and_chance():
    labels = np.repeat(np.arange(4), 5)
    ids = np.arange(20).astype(str)
    perfect = EmbeddingSet(ids, labels, np.eye(4, dtype=np.float32)[labels])
    found = mean_average_precision(perfect, perfect)
    assert {found[f"{way}/{name}"] for way in ("text_to_image", "image_to_text") for name in ("mAP", "mINP")} == {100}
    flat = EmbeddingSet(ids, labels, np.ones((20, 4), np.float32))
    collapsed = mean_average_precision(flat, flat)
    assert collapsed["text_to_image/mAP"] == pytest.approx(100 * np.mean([(i + 1) / (16 + i) for i in range(5)]))
    assert collapsed["text_to_image/mAP"] < collapsed["chance/text_to_image/mAP"] < 100


def test_queries_without_an_answer_are_left_out_and_sets_without_any_refused():
    images, texts = sets(1)
    more = EmbeddingSet(
        np.append(texts.ids, "x"), np.append(texts.labels, 77), np.vstack([texts.vectors, np.ones((1, 2), np.float32)])
    )
    assert mean_average_precision(images, more)["text_to_image/mAP"] == pytest.approx(
        mean_average_precision(images, texts)["text_to_image/mAP"]
    )
    assert acmr(more, images)[0] == pytest.approx(acmr(texts, images)[0])
    strangers = EmbeddingSet(images.ids, images.labels + 50, images.vectors)
    with pytest.raises(UserError, match="same split"):
        mean_average_precision(strangers, texts)
    with pytest.raises(UserError, match="no query"):
        acmr(texts, strangers)


def test_results_stand_in_the_order_of_the_queries():
    images, texts = sets(5)
    values, first, relevant = per_query(
        texts.vectors, images.vectors, texts.labels, images.labels, {"first": lambda ranks, _: ranks[:, 0]}
    )
    scores = reference.cosine_scores(texts.vectors, images.vectors)
    assert first.tolist() == reference.ranks(scores, texts.labels.tolist(), images.labels.tolist(), "pessimistic")
    np.testing.assert_array_equal(values["first"], first)
    np.testing.assert_array_equal(relevant, (texts.labels[:, None] == images.labels).sum(axis=1))
