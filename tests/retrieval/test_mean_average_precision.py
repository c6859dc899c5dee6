"""Mean average precision and its relatives both ways, against loop twins."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.reference import ranking as reference
from tests.retrieval.examples import rankings, sets
from xmkeras.errors import UserError
from xmkeras.retrieval.both_ways import rank_both_ways
from xmkeras.retrieval.embeddings import EmbeddingSet
from xmkeras.retrieval.mean_average_precision import mean_average_precision, per_query


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.integers(0, 2**32 - 1), st.sampled_from(["pessimistic", "optimistic", "index"]))
def test_mean_average_precision_equals_the_loop_twins(seed, ties):
    images, texts = sets(seed)
    found, ranked = mean_average_precision(images, texts, ties=ties, chunk_bytes=1)
    expected = rank_both_ways(images, texts, relevance="label", ties=ties)
    for name, ranks in vars(expected).items():
        np.testing.assert_array_equal(getattr(ranked, name), ranks)
    for way, asked in (
        ("text_to_image", rankings(texts, images, ties=ties)),
        ("image_to_text", rankings(images, texts, ties=ties)),
    ):
        assert found[f"{way}/mAP"] == pytest.approx(100 * np.mean([reference.average_precision(r) for r in asked]))
        assert found[f"{way}/MAP@R"] == pytest.approx(100 * np.mean([reference.map_at_r(r) for r in asked]))
        penalty = np.mean([reference.inverse_negative_penalty(r) for r in asked])
        assert found[f"{way}/mINP"] == pytest.approx(100 * penalty)


def test_a_score_function_takes_images_first_both_ways():
    images, texts = sets(3)
    generator = np.random.default_rng(0)
    table = generator.standard_normal((9, 14)).astype(np.float32)
    numbered = [EmbeddingSet(s.ids, s.labels, np.arange(len(s), dtype=np.float32)[:, None]) for s in (images, texts)]
    found, _ = mean_average_precision(
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
    found, _ = mean_average_precision(perfect, perfect)
    assert {found[f"{way}/{name}"] for way in ("text_to_image", "image_to_text") for name in ("mAP", "mINP")} == {100}
    flat = EmbeddingSet(ids, labels, np.ones((20, 4), np.float32))
    collapsed, _ = mean_average_precision(flat, flat)
    assert collapsed["text_to_image/mAP"] == pytest.approx(100 * np.mean([(i + 1) / (16 + i) for i in range(5)]))
    assert collapsed["text_to_image/mAP"] < collapsed["chance/text_to_image/mAP"] < 100


def test_queries_without_an_answer_are_left_out_and_sets_without_any_refused():
    images, texts = sets(1)
    more = EmbeddingSet(
        np.append(texts.ids, "x"), np.append(texts.labels, 77), np.vstack([texts.vectors, np.ones((1, 2), np.float32)])
    )
    assert mean_average_precision(images, more)[0]["text_to_image/mAP"] == pytest.approx(
        mean_average_precision(images, texts)[0]["text_to_image/mAP"]
    )
    strangers = EmbeddingSet(images.ids, images.labels + 50, images.vectors)
    with pytest.raises(UserError, match="same split"):
        mean_average_precision(strangers, texts)


def test_results_stand_in_the_order_of_the_queries():
    images, texts = sets(5)
    values, first, relevant = per_query(
        texts.vectors, images.vectors, texts.labels, images.labels, {"first": lambda ranks, _: ranks[:, 0]}
    )
    scores = reference.cosine_scores(texts.vectors, images.vectors)
    assert first.tolist() == reference.ranks(scores, texts.labels.tolist(), images.labels.tolist(), "pessimistic")
    np.testing.assert_array_equal(values["first"], first)
    np.testing.assert_array_equal(relevant, (texts.labels[:, None] == images.labels).sum(axis=1))
