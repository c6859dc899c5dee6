"""The protocol of feature pairs: both readings of mAP, directions, chance, curves."""

from __future__ import annotations

import numpy as np
import pytest

from xmkeras.retrieval.embeddings import EmbeddingSet
from xmkeras.retrieval.feature_protocol import feature_protocol


def items(vectors, labels) -> EmbeddingSet:
    return EmbeddingSet(np.array([str(n) for n in range(len(labels))]), np.array(labels), np.asarray(vectors, "f4"))


# One dimension: an image at 0 has the texts at distances 1 (right), 2 (wrong), 3 (right).
IMAGES = items([[0.0], [9.0]], [0, 1])
TEXTS = items([[1.0], [2.0], [3.0]], [0, 1, 0])


def test_average_precision_by_hand():
    results, curves = feature_protocol(IMAGES, TEXTS, score="euclidean")
    # Image 0: (1/1 + 2/3) / 2; image 1, at 9: texts at 3 (wrong), 2 (right), 1.
    assert results["image_to_text/mAP"] == pytest.approx(100 * (5 / 6 + 1 / 2) / 2)
    # Texts at 1 and 3 find image 0 first; the one at 2 finds image 0 before image 1.
    assert results["text_to_image/mAP"] == pytest.approx(100 * (1 + 1 / 2 + 1) / 3)
    assert results["mAP"] == pytest.approx((results["image_to_text/mAP"] + results["text_to_image/mAP"]) / 2)
    np.testing.assert_allclose(curves["image_to_text"], [1 / 2, 1 / 2, 1 / 2])


def test_a_function_scores_images_first():
    def score(images, texts):
        assert images.shape[1] == 1
        return -np.abs(images - texts.T)

    one, _ = feature_protocol(IMAGES, TEXTS, score=score)
    two, _ = feature_protocol(IMAGES, TEXTS, score="euclidean")
    assert one == pytest.approx(two)


def test_at_50_divides_by_the_hits_found():
    labels = [0] * 60 + [1] * 60
    images = items([[0.0]], [0])
    texts = items([[n] for n in range(120)], labels)
    results, curves = feature_protocol(images, texts, score="euclidean")
    assert results["image_to_text/mAP@50"] == pytest.approx(100)
    assert curves["image_to_text"].shape == (100,)
    assert curves["image_to_text"][99] == pytest.approx(0.6)


def test_every_figure_has_its_chance_near_the_share_of_a_class():
    generator = np.random.default_rng(1)
    sides = [items(generator.normal(size=(200, 5)), np.arange(200) % 4) for _ in range(2)]
    results, _ = feature_protocol(*sides)
    for name in ("mAP", "mAP@50", "image_to_text/mAP@50", "text_to_image/mAP@50"):
        assert results[f"chance/{name}"] == pytest.approx(results[name], abs=4)
