"""Reed's protocol, and what is measured of captioned images of classes."""

import json
import pathlib

import numpy as np
import pytest

from tests.reference import ranking as reference
from tests.retrieval.examples import pairs
from xmkeras.errors import UserError
from xmkeras.retrieval.both_ways import retrieval
from xmkeras.retrieval.embeddings import EmbeddingSet
from xmkeras.retrieval.mean_average_precision import mean_average_precision
from xmkeras.retrieval.measured import Split
from xmkeras.retrieval.protocols.classes import PROTOCOL, reed

VECTORS = json.loads((pathlib.Path(__file__).parents[2] / "vectors.json").read_text())


@pytest.mark.parametrize("similarity", ["cosine", "dot"])
def test_reed_agrees_with_the_vectors(similarity):
    inputs, expected = (VECTORS["cub_flowers_protocol"][part] for part in ("inputs", "expected"))
    images = EmbeddingSet(
        np.arange(8).astype(str), np.array(inputs["image_class"]), np.array(inputs["image"], np.float32)
    )
    texts = EmbeddingSet(np.arange(6).astype(str), np.array(inputs["text_class"]), np.array(inputs["text"], np.float32))
    score = None if similarity == "cosine" else lambda left, right: left @ right.T
    found = reed(images, texts, k=inputs["K"], score=score)
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


def test_a_euclidean_model_assigns_the_class_of_the_nearest_mean():
    images, texts = pairs(images=24, noise=2.0)
    found = reed(images, texts, k=5, score="euclidean")
    means = np.stack([texts.vectors[texts.labels == c].mean(axis=0, dtype=np.float64) for c in range(6)])
    scores = np.array(reference.minus_squared_distances(means.astype("f4"), images.vectors))
    precision = [reference.precision_at_k(scores[c], images.labels == c, 5) for c in range(6)]
    assert found["text_to_image/precision@5"] == pytest.approx(100 * np.mean(precision))
    assert found["image_to_text/class_accuracy"] == pytest.approx(100 * np.mean(scores.argmax(axis=0) == images.labels))
    assert found != reed(images, texts, k=5)


def test_captions_are_ranked_by_image_and_classes_by_label():
    images, texts = pairs()
    found = PROTOCOL.measure(Split(images, texts, [], label_kind="class")).results
    assert found == retrieval(images, texts) | reed(images, texts) | mean_average_precision(images, texts)[0]
