"""The published protocols: both ways with chance, folds, and Reed's class protocol."""

import json
import pathlib

import numpy as np
import pytest

from tests.reference import ranking as reference
from xmkeras.errors import UserError
from xmkeras.retrieval.embeddings import EmbeddingSet
from xmkeras.retrieval.protocols import five_fold, rank_both_ways, reed, retrieval

VECTORS = json.loads((pathlib.Path(__file__).parent.parent / "vectors.json").read_text())


def pairs(images=60, captions=3, dim=8, noise=1.0, seed=0):
    generator = np.random.default_rng(seed)
    vectors = generator.standard_normal((images, dim)).astype(np.float32)
    ids, labels = np.array([f"i{n}" for n in range(images)]), np.arange(images) // 4
    texts = np.repeat(vectors, captions, 0) + noise * generator.standard_normal((images * captions, dim))
    return (
        EmbeddingSet(ids, labels, vectors),
        EmbeddingSet(np.repeat(ids, captions), np.repeat(labels, captions), texts.astype(np.float32)),
    )


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


def test_folds_are_averaged():
    images, texts = pairs()
    parts = [
        retrieval(images.take(rows), texts.take(np.isin(texts.ids, images.ids[rows])))
        for rows in np.split(np.arange(60), 5)
    ]
    folded = five_fold(images, texts)
    assert folded["rsum"] == pytest.approx(np.mean([part["rsum"] for part in parts]))
    assert folded["text_to_image/gallery"] == 12
    with pytest.raises(UserError, match="7 equal folds"):
        five_fold(images, texts, folds=7)


@pytest.mark.parametrize("similarity", ["cosine", "dot"])
def test_reed_agrees_with_the_vectors(similarity):
    inputs, expected = (VECTORS["cub_flowers_protocol"][part] for part in ("inputs", "expected"))
    images = EmbeddingSet(
        np.arange(8).astype(str), np.array(inputs["image_class"]), np.array(inputs["image"], np.float32)
    )
    texts = EmbeddingSet(np.arange(6).astype(str), np.array(inputs["text_class"]), np.array(inputs["text"], np.float32))
    found = reed(images, texts, k=inputs["K"], similarity=similarity)
    accuracy, precision = expected[f"{similarity}_i2t_R1_image_average"], expected[f"{similarity}_APK"]
    assert found["image_to_text/class_accuracy"] == pytest.approx(100 * accuracy)
    assert found["text_to_image/precision@3"] == pytest.approx(100 * precision)


def test_reed_counts_ties_against_the_model_and_cuts_k():
    images, texts = pairs(noise=0.0)
    flat = EmbeddingSet(texts.ids, texts.labels, np.ones_like(texts.vectors))
    found = reed(images, flat, k=4)
    assert found["image_to_text/class_accuracy"] == 0
    same = EmbeddingSet(images.ids, images.labels, np.ones_like(images.vectors))
    assert reed(same, texts, k=4)["text_to_image/precision@4"] == 0
    assert found["chance/text_to_image/precision@4"] == pytest.approx(100 / 15)
    assert "text_to_image/precision@60" in reed(images, texts, k=100)


def test_reed_equals_the_loop_twin():
    images, texts = pairs(images=24, noise=2.0)
    found = reed(images, texts, k=5)
    means = [texts.vectors[texts.labels == c].mean(axis=0, dtype=np.float64) for c in range(6)]
    scores = np.array(reference.cosine_scores(np.array(means), images.vectors))
    precision = [reference.precision_at_k(scores[c], images.labels == c, 5) for c in range(6)]
    assert found["text_to_image/precision@5"] == pytest.approx(100 * np.mean(precision))
    assert found["image_to_text/class_accuracy"] == pytest.approx(100 * np.mean(scores.argmax(axis=0) == images.labels))


def test_reed_needs_a_text_for_each_class():
    images, texts = pairs()
    with pytest.raises(UserError, match="each class"):
        reed(images, texts.take(texts.labels != 2))
