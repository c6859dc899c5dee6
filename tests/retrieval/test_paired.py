"""Two evaluations of the same items, compared image by image."""

import numpy as np
import pytest

from tests.retrieval.examples import pairs
from xmkeras.errors import UserError
from xmkeras.retrieval.both_ways import retrieval
from xmkeras.retrieval.metrics import Difference
from xmkeras.retrieval.paired import compare, comparison_section


def test_the_difference_is_that_of_rsum_and_its_interval_is_about_it():
    images, good = pairs(noise=0.5)
    _, bad = pairs(noise=2.0)
    found = compare((images, good, None), (images, bad, "euclidean"))
    expected = retrieval(images, good)["rsum"] - retrieval(images, bad, score="euclidean")["rsum"]
    assert found.mean == pytest.approx(expected)
    assert 0 < found.low < found.mean < found.high
    assert found.p < 0.01
    swapped = compare((images, bad, "euclidean"), (images, good, None))
    assert swapped.mean == pytest.approx(-expected)
    by_label = compare((images, good, None), (images, bad, None), "label")
    labelled = [retrieval(images, texts, relevance="label")["rsum"] for texts in (good, bad)]
    assert by_label.mean == pytest.approx(labelled[0] - labelled[1])


def test_other_items_are_refused():
    images, texts = pairs()
    part = images.take(np.arange(59))
    with pytest.raises(UserError, match="different images: evaluate both runs on the same split"):
        compare((images, texts, None), (part, texts.take(np.isin(texts.ids, part.ids)), None))
    with pytest.raises(UserError, match="different texts"):
        compare((images, texts, None), (images, texts.take(np.arange(179)), None))


def test_the_section_says_whether_they_differ():
    better = comparison_section(Difference(3.0, 1.0, 5.0, 0.01), "new", "old")
    assert better.title == "Compared with old"
    assert "rsum of new less that of old: +3.00 [+1.00, +5.00], p = 0.0100" in better.text
    assert "equal" not in better.text
    assert "may as well be equal" in comparison_section(Difference(3.0, -1.0, 5.0, 0.2), "new", "old").text
