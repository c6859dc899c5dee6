"""Captions and images: what is right by the kind of label, and the report's sections."""

import numpy as np
import pytest

from tests.retrieval.examples import pairs, squares
from xmkeras.retrieval.both_ways import retrieval
from xmkeras.retrieval.mean_average_precision import mean_average_precision
from xmkeras.retrieval.measured import Show, Split
from xmkeras.retrieval.protocols.captions import PROTOCOL


@pytest.mark.parametrize("kind", ["image", "class"])
def test_a_caption_belongs_to_its_image(kind):
    images, texts = pairs()
    measured = PROTOCOL.measure(Split(images, texts, [], label_kind=kind, score="euclidean", ties="index"))
    assert measured.results == retrieval(images, texts, score="euclidean", ties="index")
    assert (measured.relevance, measured.score) == ("id", "euclidean")


def test_items_of_an_identity_are_right_answers_and_mean_precisions_are_added():
    images, texts = pairs()
    measured = PROTOCOL.measure(Split(images, texts, [], label_kind="identity"))
    assert measured.results == retrieval(images, texts, relevance="label") | mean_average_precision(images, texts)[0]
    assert measured.relevance == "label"


def test_the_sections_show_ranks_and_queries_both_ways():
    images, texts, words, thumbnail, asked = squares(images=30)
    measured = PROTOCOL.measure(Split(images, texts, words, label_kind="image"))
    sections = PROTOCOL.sections(measured, Show(thumbnail=thumbnail, examples=1, k=3, credit="A. Painter"))
    assert [section.title for section in sections] == [
        "Ranks",
        "Texts and the images they found",
        "Images and the texts they found",
    ]
    for section in sections[1:]:
        written = [text.get_text() for text in section.pictures[0].figure.texts]
        assert "A. Painter" in written
        assert {"Best", "Worst"} < set(written)
    assert len(set(asked)) <= 3 * 4 + 3
    curve = sections[0].pictures[0].figure.axes[0].lines[0]
    np.testing.assert_allclose(
        curve.get_ydata()[[0, 4, 9]], [measured.results[f"text_to_image/R@{k}"] / 100 for k in (1, 5, 10)]
    )
