"""Bi-directional ranking against the published numbers, a loop twin, and hand-made score matrices."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.losses.checks import (
    agree,
    difference_quotients,
    dtypes,
    random_batches,
    random_sides,
    seeds,
    sizes,
    value_and_gradients,
    vectors,
)
from tests.reference import hinges
from xmkeras.losses import bi_rank, ranking_hinge

IMAGE, TEXT, LABELS, EXPECTED = vectors("bi_rank", "image", "text", "labels")


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("sum_diag", {}),
        ("max_diag", {"negatives": "max"}),
        ("max_diag_mean", {"negatives": "max", "reduction": "mean"}),
        ("sum_label_masked", {"mask": "label"}),
        ("max_label_masked", {"mask": "label", "negatives": "max"}),
        ("top2_label_masked", {"mask": "label", "negatives": "topk", "k": 2}),
    ],
)
def test_agrees_with_the_published_numbers(name, options):
    agree(bi_rank(IMAGE, TEXT, LABELS, **options), EXPECTED[name])


@pytest.mark.parametrize(
    ("negatives", "name"), [("max", "contrastive_max_t2i_mean"), ("sum", "contrastive_sum_t2i_mean")]
)
def test_serves_scan_on_its_score_matrix(negatives, name):
    (expected,) = vectors("scan")
    agree(ranking_hinge(np.array(expected["t2i_mean_l9"]), negatives=negatives), expected[name])


@given(
    seed=seeds,
    n=sizes,
    m=sizes,
    dtype=dtypes,
    classes=st.integers(1, 4),
    negatives=st.sampled_from(["sum", "max", "semi", "topk"]),
    mask=st.sampled_from(["diagonal", "label", "image"]),
    k=st.integers(1, 9),
    weight=st.sampled_from([1.0, 1.5]),
)
@random_batches
def test_agrees_with_the_loops(seed, n, m, dtype, classes, negatives, mask, k, weight):
    (image, x), (text, z), labels, text_labels = random_sides(seed, n, m, 4, classes, dtype)
    ids = {"image_ids": labels, "text_image_ids": text_labels, "text_labels": text_labels}
    options = {"negatives": negatives, "k": k, "image_weight": weight}
    got = bi_rank(image, text, labels, mask=mask, margin=0.3, **options, **ids)
    scores = [[hinges.cosine(a, b) for b in z] for a in x]
    rows, columns = (None, None) if mask == "diagonal" else (labels, text_labels)
    agree(got, hinges.ranking(scores, 0.3, row_ids=rows, column_ids=columns, **options), 2e-5, 1e-5)


@pytest.mark.parametrize("negatives", ["sum", "max", "semi", "topk"])
def test_gradients_agree_with_differences_of_the_loops(negatives):
    scores = np.random.default_rng(3).normal(0, 0.4, (4, 5))
    _, (got,) = value_and_gradients(lambda s: ranking_hinge(s, negatives=negatives, k=2), scores.astype("f4"))
    (want,) = difference_quotients(lambda s: hinges.ranking(s, 0.2, negatives, k=2), scores)
    agree(got, want, 1e-4, 1e-4)


def test_euclidean_similarity_is_the_smoothed_distance_of_unit_vectors():
    image, text = np.array([[2.0, 0.0], [0.0, 1.0]]), np.array([[0.0, 3.0], [1.0, 1.0]])
    near, far, half = 1e-2, np.sqrt(2 + 1e-4), np.sqrt(2 - np.sqrt(2) + 1e-4)
    want = sum(max(0.0, 0.05 + own - other) for own, other in [(far, half), (half, near), (far, near), (half, half)])
    agree(bi_rank(image, text, similarity="euclidean", margin=0.05), want)


def test_semi_hard_takes_the_hardest_negative_below_the_positive_or_else_the_easiest():
    below = [[0.5, 0.45, 0.1, 0.9], [-9] * 4, [-9] * 4, [-9] * 4]
    above = [[0.5, 0.7, 0.6, 0.9], [-9] * 4, [-9] * 4, [-9] * 4]
    rows = [np.array(scores) + 20 * np.diag([0, 1, 1, 1]) for scores in (below, above)]
    agree(ranking_hinge(rows[0], negatives="semi"), 0.15)
    agree(ranking_hinge(rows[1], negatives="semi"), 0.3)


def test_further_texts_are_negatives_only():
    scores = np.array([[0.9, 0.1, 0.8], [0.2, 0.7, 0.0]])
    agree(ranking_hinge(scores), 0.1)
    agree(ranking_hinge(scores.T), 0.1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"negatives": "hard"}, "sum, max, semi, topk"),
        ({"mask": "class"}, "diagonal, label, image"),
        ({"reduction": "none"}, "sum, mean"),
        ({"mask": "label"}, "needs labels"),
        ({"mask": "image"}, "needs image_ids"),
        ({"similarity": "dot"}, "cosine, euclidean"),
    ],
)
def test_unusable_options_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        bi_rank(IMAGE, TEXT, **options)
