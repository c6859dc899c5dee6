"""Recalls and ranks both ways with chance, against loop twins."""

import numpy as np
import pytest

from tests.reference import ranking as reference
from tests.retrieval.examples import pairs
from xmkeras.errors import UserError
from xmkeras.retrieval.both_ways import rank_both_ways, retrieval
from xmkeras.retrieval.embeddings import EmbeddingSet


@pytest.mark.parametrize("relevance", ["id", "label"])
def test_retrieval_equals_the_loop_twins(relevance):
    images, texts = pairs()
    keys = [(s.ids if relevance == "id" else s.labels).tolist() for s in (images, texts)]
    scores = np.array(reference.cosine_scores(images.vectors, texts.vectors))
    image_ranks = np.array(reference.ranks(scores, *keys, "pessimistic"))
    text_ranks = np.array(reference.ranks(scores.T, *keys[::-1], "pessimistic"))
    found = retrieval(images, texts, relevance=relevance)
    for way, ranks, relevant, gallery in (
        ("image_to_text", image_ranks, 3 if relevance == "id" else 12, 180),
        ("text_to_image", text_ranks, 1 if relevance == "id" else 4, 60),
    ):
        for k in (1, 5, 10):
            assert found[f"{way}/R@{k}"] == pytest.approx(100 * np.mean(ranks < k))
            chance = 100 * reference.chance_recall(relevant, gallery, k)
            assert found[f"chance/{way}/R@{k}"] == pytest.approx(chance)
        assert found[f"{way}/median_rank"] == np.floor(np.median(ranks)) + 1
        assert found[f"{way}/mean_rank"] == pytest.approx(ranks.mean() + 1)
        assert (found[f"{way}/queries"], found[f"{way}/gallery"]) == (len(ranks), gallery)
    total = sum(value for key, value in found.items() if "/R@" in key and not key.startswith("chance"))
    assert found["rsum"] == pytest.approx(total)


def test_a_perfect_and_a_collapsed_model():
    images, texts = pairs(noise=0.0)
    assert retrieval(images, texts)["rsum"] == pytest.approx(600)
    flat = EmbeddingSet(texts.ids, texts.labels, np.ones_like(texts.vectors))
    collapsed = retrieval(images, flat)
    assert collapsed["image_to_text/R@10"] == 0
    assert collapsed["text_to_image/R@10"] < 1.5 * collapsed["chance/text_to_image/R@10"]


def test_known_ranks_and_a_score_function_give_the_same_table():
    images, texts = pairs()
    ranked = rank_both_ways(images, texts)
    assert retrieval(images, texts, ranked=ranked) == retrieval(images, texts)
    double = retrieval(images, texts, score=lambda left, right: 2 * left @ right.T, ks=(1, 2))
    assert {"text_to_image/R@2", "chance/rsum"} < double.keys()


def test_captions_without_their_image_are_not_asked():
    images, texts = pairs()
    broken = retrieval(images.take(np.arange(1, 60)), texts)
    assert (broken["text_to_image/queries"], broken["image_to_text/gallery"]) == (177, 180)
    silent = retrieval(images, texts.take(texts.ids != "i7"))
    assert silent["image_to_text/queries"] == 59


def test_galleries_that_cannot_be_right_are_refused():
    images, texts = pairs()
    with pytest.raises(UserError, match="image twice"):
        retrieval(images.take(np.array([0, 1, 1])), texts)
    with pytest.raises(UserError, match="same split"):
        retrieval(images.take(np.arange(5)), texts.take(texts.ids == "i9"))
