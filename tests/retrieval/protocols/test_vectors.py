"""The protocol of feature pairs: both readings of mAP, directions, chance, curves."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.reference import ranking as reference
from tests.retrieval.examples import rankings, sets, squares
from xmkeras.errors import UserError
from xmkeras.retrieval.embeddings import EmbeddingSet
from xmkeras.retrieval.measured import Show, Split
from xmkeras.retrieval.protocols.vectors import PROTOCOL, acmr


def items(vectors, labels) -> EmbeddingSet:
    return EmbeddingSet(np.array([str(n) for n in range(len(labels))]), np.array(labels), np.asarray(vectors, "f4"))


# One dimension: an image at 0 has the texts at distances 1 (right), 2 (wrong), 3 (right).
IMAGES = items([[0.0], [9.0]], [0, 1])
TEXTS = items([[1.0], [2.0], [3.0]], [0, 1, 0])


def measure(images, texts, **options):
    measured = PROTOCOL.measure(Split(images, texts, [""] * len(texts), label_kind="class", **options))
    return measured.results, measured.curves


def test_average_precision_by_hand():
    results, curves = measure(IMAGES, TEXTS, score="euclidean")
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

    one, _ = measure(IMAGES, TEXTS, score=score)
    two, _ = measure(IMAGES, TEXTS, score="euclidean")
    assert one == pytest.approx(two)


def test_at_50_divides_by_the_hits_found():
    labels = [0] * 60 + [1] * 60
    images = items([[0.0]], [0])
    texts = items([[n] for n in range(120)], labels)
    results, curves = measure(images, texts, score="euclidean")
    assert results["image_to_text/mAP@50"] == pytest.approx(100)
    assert curves["image_to_text"].shape == (100,)
    assert curves["image_to_text"][99] == pytest.approx(0.6)


def test_every_figure_has_its_chance_near_the_share_of_a_class():
    generator = np.random.default_rng(1)
    sides = [items(generator.normal(size=(200, 5)), np.arange(200) % 4) for _ in range(2)]
    results, _ = measure(*sides)
    for name in ("mAP", "mAP@50", "image_to_text/mAP@50", "text_to_image/mAP@50"):
        assert results[f"chance/{name}"] == pytest.approx(results[name], abs=4)


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


def test_the_release_asks_no_query_without_an_answer():
    images, texts = sets(1)
    more = EmbeddingSet(
        np.append(texts.ids, "x"), np.append(texts.labels, 77), np.vstack([texts.vectors, np.ones((1, 2), np.float32)])
    )
    assert acmr(more, images)[0] == pytest.approx(acmr(texts, images)[0])
    with pytest.raises(UserError, match="no query"):
        acmr(texts, EmbeddingSet(images.ids, images.labels + 50, images.vectors))


def test_the_space_is_shown_before_and_after_training_without_private_dimensions():
    images, texts, words, *_ = squares(images=12, captions=1, noise=0.1)
    measured = PROTOCOL.measure(Split(images, texts, words, label_kind="class"))
    # The last two of the eight dimensions tell the modality, and so do all of them before training.
    private = [EmbeddingSet(s.ids, s.labels, s.vectors.copy()) for s in (images, texts)]
    private[1].vectors[:, 6:] += 50
    far = EmbeddingSet(texts.ids, texts.labels, texts.vectors + np.float32(20))
    measured = dataclasses.replace(measured, images=private[0], texts=private[1])
    show = Show(name="a run", label_names=[f"class {n}" for n in range(4)], private_dims=2)
    (section,) = [s for s in PROTOCOL.sections(measured, show) if s.title == "The space"]
    after = measured.results["modality_probe/after_training"]
    assert after < 80
    assert section.text == (
        f"A linear probe tells images from texts in {after:.1f} % of the cases after training; 50 % would be no gap."
    )
    show = dataclasses.replace(show, untrained=lambda: (images, far))
    sections = PROTOCOL.sections(measured, show)
    assert [section.title for section in sections] == ["Ranks", "Precision over scope", "The space"]
    assert measured.results["modality_probe/before_training"] == 100
    assert "100.0 % of the cases before training and" in sections[-1].text
    assert len(sections[-1].pictures[0].figure.axes) == 4
    assert "a run" in sections[1].pictures[0].figure.axes[0].get_legend_handles_labels()[1]
