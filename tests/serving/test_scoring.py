"""The scores of a SavedModel against loops over pairs."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tests.serving.toys import best_product, cosine, distance, pair_score
from xmkeras.serving import scoring
from xmkeras.serving.scoring import Pairs, served_score


@pytest.mark.parametrize(("similarity", "score"), [("cosine", cosine), ("euclidean", distance)])
def test_vectors(similarity, score):
    generator = np.random.default_rng(0)
    one, two = (generator.normal(size=(count, 6)).astype("f4") for count in (5, 8))
    scorer = served_score(similarity, None, 2)
    queries, items = ({"embedding": scorer.finish(tf.constant(side))} for side in (one, two))
    expected = [[score(a, b) for b in two] for a in one]
    np.testing.assert_allclose(scorer.matrix(queries, items, turned=True), expected, atol=1e-5)
    rows = scorer.rows(queries, {"embedding": items["embedding"][:5]})
    np.testing.assert_allclose(rows, np.diag(expected), atol=1e-5)


def sequences(seed: int, lengths: list[int], longest: int) -> tuple[list[np.ndarray], scoring.Encoded]:
    """Sequences of vectors, and the same padded with numbers that would win if they were not masked."""
    mask = np.arange(longest) < np.array(lengths)[:, None]
    values = np.random.default_rng(seed).normal(size=(len(lengths), longest, 3)).astype("f4")
    values[~mask] = 100.0
    return [row[there] for row, there in zip(values, mask, strict=True)], {
        "embedding": tf.constant(values),
        "mask": tf.constant(mask),
    }


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("shard", [1, 3, 4, 100])
def test_pairs_in_shards_of_any_size(monkeypatch, turned, shard):
    monkeypatch.setattr(scoring, "_SHARD", shard)
    parts, queries = sequences(0, [2, 1, 4, 3, 4], 4)
    others, items = sequences(1, [1, 5, 3, 2, 1, 5, 2], 5)
    scorer = Pairs(pair_score, within=False)
    expected = [[best_product(a, b) for b in others] for a in parts]
    np.testing.assert_allclose(scorer.matrix(queries, items, turned=turned), expected, atol=1e-5)


def test_a_score_that_tells_images_from_texts_gets_each_in_its_place():
    def score(outputs):
        return outputs["image"][:, None, 0] - 10.0 * outputs["text"][None, :, 0]

    images, texts = ({"embedding": tf.constant([[float(n)] for n in range(count)])} for count in (2, 3))
    scorer = Pairs(score, within=False)
    expected = np.array([[0.0, -10.0, -20.0], [1.0, -9.0, -19.0]])
    np.testing.assert_array_equal(scorer.matrix(images, texts, turned=False), expected)
    np.testing.assert_array_equal(scorer.matrix(texts, images, turned=True), expected.T)


def test_pairs_row_by_row():
    lengths = [2, 1, 4]
    parts, images = sequences(2, lengths, 4)
    others, texts = sequences(3, [3, 2, 1], 6)
    rows = Pairs(pair_score, within=False).rows(images, texts)
    np.testing.assert_allclose(rows, [best_product(a, b) for a, b in zip(parts, others, strict=True)], atol=1e-5)


def test_what_cannot_be_scored_is_an_error():
    with pytest.raises(ValueError, match="needs a score"):
        served_score("pairs", None, 2)
    with pytest.raises(ValueError, match="none of cosine, euclidean, pairs"):
        served_score("manhattan", None, 2)


@pytest.mark.parametrize("turned", [False, True])
def test_of_a_large_gallery_the_nearest_by_their_sums_are_scored(turned):
    parts, queries = sequences(0, [2, 1, 4, 3, 4], 4)
    others, items = sequences(1, [1, 5, 3, 2, 1, 5, 2], 5)
    scorer = Pairs(pair_score, within=False, rerank=4)
    items["summary"] = scorer.summary(items)
    scores, places = scorer.best(queries, items, 3, turned=turned)
    for row, part in enumerate(parts):
        near = [cosine(part.sum(axis=0), other.sum(axis=0)) for other in others]
        candidates = np.argsort(near)[::-1][:4]
        best = sorted(candidates, key=lambda item: best_product(part, others[item]), reverse=True)[:3]
        assert places[row].numpy().tolist() == best
        np.testing.assert_allclose(scores[row], [best_product(part, others[item]) for item in best], atol=1e-5)


def test_where_all_are_scored_no_sums_are_kept():
    _, items = sequences(1, [1, 5, 3], 5)
    for rerank in (0, 3, 8):
        assert Pairs(pair_score, within=False, rerank=rerank).summary(items) is None
