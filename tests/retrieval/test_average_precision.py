"""Average precision and its relatives: the vectors, loop twins, scikit-learn, and chance against a simulation."""

import json
import pathlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.reference import ranking as reference
from xmkeras.retrieval import average_precision as ap

VECTORS = json.loads((pathlib.Path(__file__).parent.parent / "vectors.json").read_text())["average_precision"]
SAMPLE = np.flatnonzero(VECTORS["inputs"]["ranked_relevance"])[None]
FOUR = np.array([4])


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("ap_all", {}),
        ("ap_at5_div_hits_in_topk", {"k": 5, "divide_by": "found"}),
        ("ap_at5_div_min_k_R", {"k": 5, "divide_by": "possible"}),
        ("cmpl_release_map_bug", {"count_hit": False}),
    ],
)
def test_average_precision_agrees_with_the_vectors(name, options):
    assert ap.average_precision(SAMPLE, FOUR, **options)[0] == pytest.approx(VECTORS["expected"][name], abs=1e-8)


def test_without_the_hit_a_relevant_first_rank_counts_in_full_as_in_the_cmpl_release():
    ranks, relevant = np.array([[0, 2, 4], [0, 5, 5], [1, 5, 5]]), np.array([3, 1, 1])
    found = ap.average_precision(ranks, relevant, count_hit=False)
    np.testing.assert_allclose(found, [(1 / 1 + 1 / 3 + 2 / 5) / 3, 1, 0])


def test_precisions_agree_with_the_vectors():
    expected = VECTORS["expected"]
    assert ap.precision_at_k(SAMPLE, 5)[0] == pytest.approx(expected["precision_at5"])
    np.testing.assert_allclose(ap.precision_scope(SAMPLE, 10), expected["precision_scope_1_to_10"], atol=1e-8)
    np.testing.assert_allclose(
        ap.precision_scope(SAMPLE, 10, shifted=True), expected["precision_scope_acmr_release_bug"], atol=1e-8
    )


def padded(rankings):
    """Ranks (n, m) and relevant (n,) of rankings given as relevance flags."""
    size, relevant = len(rankings[0]), np.array([sum(ranking) for ranking in rankings])
    ranks = np.full((len(rankings), max(1, relevant.max())), size)
    for row, ranking in zip(ranks, rankings, strict=True):
        places = np.flatnonzero(ranking)
        row[: len(places)] = places
    return ranks, relevant


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.data(), st.integers(1, 12), st.integers(1, 12))
def test_all_measures_equal_the_loop_twins(data, size, k):
    ranking = st.lists(st.booleans(), min_size=size, max_size=size)
    rankings = data.draw(st.lists(ranking, min_size=1, max_size=5))
    ranks, relevant = padded(rankings)
    for divide_by in ("relevant", "found", "possible"):
        for cut in (None, k):
            expected = [reference.average_precision(one, cut, divide_by) for one in rankings]
            found = ap.average_precision(ranks, relevant, k=cut, divide_by=divide_by)
            np.testing.assert_allclose(found, expected, atol=1e-12)
    for found, twin in (
        (ap.average_precision(ranks, relevant, count_hit=False), reference.average_precision_without_the_hit),
        (ap.average_precision_at_r(ranks, relevant), reference.map_at_r),
        (ap.inverse_negative_penalty(ranks, relevant), reference.inverse_negative_penalty),
        (ap.enough_near(ranks, k=min(k, size), needed=2), lambda one: sum(one[: min(k, size)]) >= 2),
    ):
        np.testing.assert_allclose(found, [twin(one) for one in rankings], atol=1e-12)
    for shifted in (False, True):
        curve = reference.precision_scope(rankings, size, shifted)
        np.testing.assert_allclose(ap.precision_scope(ranks, size, shifted=shifted), curve, atol=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_average_precision_is_that_of_scikit_learn(seed):
    sklearn_metrics = pytest.importorskip("sklearn.metrics")
    generator = np.random.default_rng(seed)
    relevant, scores = generator.random(50) < 0.3, generator.permutation(50)
    ranking = relevant[np.argsort(-scores)]
    found = ap.average_precision(np.flatnonzero(ranking)[None], np.array([ranking.sum()]))
    assert found[0] == pytest.approx(sklearn_metrics.average_precision_score(relevant, scores))


def test_one_relevant_item_all_and_none():
    ranks, relevant = np.array([[3, 4], [0, 1], [4, 4]]), np.array([1, 2, 0])
    np.testing.assert_allclose(ap.average_precision(ranks, relevant), [0.25, 1, 0])
    np.testing.assert_allclose(ap.inverse_negative_penalty(ranks, relevant), [0.25, 1, 0])
    np.testing.assert_allclose(ap.average_precision_at_r(ranks, relevant), [0, 1, 0])
    assert ap.enough_near(ranks).tolist() == [False, False, False]
    with pytest.raises(ValueError, match="'all'"):
        ap.average_precision(ranks, relevant, divide_by="all")


@pytest.mark.parametrize("count", [1, 3, 20])
def test_chance_values_agree_with_random_orders(count):
    generator = np.random.default_rng(0)
    ranks = np.sort([generator.permutation(20)[:count] for _ in range(20_000)], axis=1)
    relevant = np.full(len(ranks), count)
    for measure, chance in (
        (ap.average_precision, ap.chance_average_precision),
        (ap.average_precision_at_r, ap.chance_average_precision_at_r),
        (ap.inverse_negative_penalty, ap.chance_inverse_negative_penalty),
    ):
        assert chance(relevant[:1], 20) == pytest.approx(measure(ranks, relevant).mean(), abs=0.006)


def test_chance_is_averaged_over_queries_and_one_item_is_found():
    for chance in (
        ap.chance_average_precision,
        ap.chance_average_precision_at_r,
        ap.chance_inverse_negative_penalty,
    ):
        parts = [chance(np.array([count]), 9) for count in (1, 1, 4)]
        assert chance(np.array([1, 1, 4]), 9) == pytest.approx(np.mean(parts))
        assert chance(np.array([1]), 1) == pytest.approx(1)
