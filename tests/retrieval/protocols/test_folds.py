"""Figures inside folds are averaged; those of the whole gallery stand beside them."""

import numpy as np
import pytest

from tests.retrieval.examples import pairs
from xmkeras.errors import UserError
from xmkeras.retrieval.both_ways import rank_both_ways, retrieval
from xmkeras.retrieval.measured import Split
from xmkeras.retrieval.protocols.folds import PROTOCOL


def measure(images, texts, **options):
    return PROTOCOL.measure(Split(images, texts, [], label_kind="image", **options))


def test_folds_are_averaged():
    images, texts = pairs()
    parts = [
        retrieval(images.take(rows), texts.take(np.isin(texts.ids, images.ids[rows])))
        for rows in np.split(np.arange(60), 5)
    ]
    folded = measure(images, texts).results
    assert folded["rsum"] == pytest.approx(np.mean([part["rsum"] for part in parts]))
    assert folded["text_to_image/gallery"] == 12
    for name in parts[0]:
        assert folded[name] == pytest.approx(np.mean([part[name] for part in parts]))
    with pytest.raises(UserError, match="7 images cannot be cut into 5 equal folds"):
        PROTOCOL.figures("image", 7)


def test_an_image_that_could_not_be_read_leaves_its_fold_smaller():
    images, texts = pairs()
    rows = np.arange(len(images)) != 7
    left, sizes = images.take(rows), measure(images.take(rows), texts).results["text_to_image/gallery"]
    assert len(left) == 59
    assert sizes == pytest.approx(59 / 5)


def test_the_whole_gallery_is_measured_too():
    images, texts = pairs()
    measured, whole = measure(images, texts, score="euclidean", folds=3), retrieval(images, texts, score="euclidean")
    for name, value in whole.items():
        chance = name.startswith("chance/")
        assert measured.results[f"chance/whole/{name[7:]}" if chance else f"whole/{name}"] == value
    assert measured.results["text_to_image/gallery"] == 20
    ranked = rank_both_ways(images, texts, score="euclidean")
    np.testing.assert_array_equal(measured.ranked.text_to_image, ranked.text_to_image)
