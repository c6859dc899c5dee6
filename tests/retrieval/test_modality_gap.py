"""The modality gap: a probe that finds it, one that does not, and the picture."""

from __future__ import annotations

import numpy as np

from xmkeras.retrieval.embeddings import EmbeddingSet
from xmkeras.retrieval.modality_gap import probe_accuracy, tsne_figure
from xmkeras.retrieval.plots import figure_pixels


def items(vectors) -> EmbeddingSet:
    count = len(vectors)
    return EmbeddingSet(np.array([f"i{n}" for n in range(count)]), np.arange(count) % 3, vectors.astype("f4"))


def pair(shift: float, count: int = 60):
    generator = np.random.default_rng(0)
    return items(generator.normal(size=(count, 4))), items(generator.normal(size=(count, 4)) + shift)


def test_a_shift_is_a_gap_and_equal_clouds_are_none():
    assert probe_accuracy(*pair(10.0)) == 100
    assert 30 < probe_accuracy(*pair(0.0)) < 70


def test_a_text_equal_to_its_image_cannot_be_told_apart():
    images, _ = pair(0.0)
    assert probe_accuracy(images, images) <= 50


def test_modalities_weigh_the_same_whatever_their_numbers():
    images, texts = pair(0.0)
    more = EmbeddingSet(np.repeat(texts.ids, 5), np.repeat(texts.labels, 5), np.repeat(texts.vectors, 5, axis=0))
    assert 30 < probe_accuracy(images, more) < 70


def test_the_picture_has_two_rows_and_a_column_a_space():
    figure = tsne_figure({"before": pair(5.0, 20), "after": pair(0.0, 20)}, ["a", "b", "c"])
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert titles == ["before: by class", "after: by class", "before: by modality", "after: by modality"]
    drawn = [sum(len(points.get_offsets()) for points in axes.collections) for axes in figure.axes]
    assert drawn == [40] * 4
    assert figure_pixels(figure).std() > 1
