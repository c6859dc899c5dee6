"""The inner loop of ranking against literal counts: few and many marks, near misses, NaN, every rule of ties."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xmkeras.retrieval.tally import Marks, NearlyAllNear, Tally, count_rows


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.integers(0, 2**32 - 1), st.integers(1, 5), st.integers(0, 4300))
def test_rows_are_counted_at_any_width(seed, rows, width):
    mask = np.random.default_rng(seed).random((rows, width)) < 0.9
    np.testing.assert_array_equal(count_rows(mask), mask.sum(axis=1))
    assert (count_rows(np.ones((rows, width), bool)) == width).all()


def literal(scores, marks, places, ties):
    """Counts, one pair at a time."""
    counts = np.zeros(marks.scores.shape, int)
    for row, level in np.ndindex(*counts.shape):
        mark, place = marks.scores[row, level], marks.places[row, level]
        for score, other in zip(scores[row], places, strict=True):
            tie = {"pessimistic": True, "optimistic": False, "index": other > place}[ties]
            counts[row, level] += bool(score > mark or (score == mark and tie))
    return counts


def case(seed, rows, width, levels):
    """Exact scores on a coarse grid with NaN; marks on the grid, some padded; fast scores within the slack."""
    generator = np.random.default_rng(seed)
    exact = generator.integers(-8, 9, (rows, width)).astype(np.float32) / 8
    exact[generator.random(exact.shape) < 0.05] = np.nan
    marks = generator.integers(-8, 9, (rows, levels)).astype(np.float32) / 8
    marks[generator.random(marks.shape) < 0.2] = -np.inf
    places = generator.permutation(width + levels)
    fast = exact + generator.uniform(-0.01, 0.01, exact.shape).astype(np.float32)
    return exact, fast, marks, np.tile(places[width:], (rows, 1)), places[:width]


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    st.integers(0, 2**32 - 1),
    st.integers(1, 4),
    st.sampled_from([1, 7, 40, 200]),
    st.sampled_from([1, 3, 4, 9]),
    st.sampled_from(["pessimistic", "optimistic", "index"]),
)
def test_counts_equal_the_literal_ones_with_and_without_slack(seed, rows, width, levels, ties):
    exact, fast, scores, marked, places = case(seed, rows, width, levels)
    marks = Marks.of(scores, marked, ties)
    expected = literal(exact, marks, places, ties)
    pairs = lambda i, j: exact[i, j]  # noqa: E731
    for given_scores, slack in ((exact, 0.0), (fast, 0.011)):
        found = Tally(given_scores, marks, places, ties, slack, pairs, np.inf).counts()
        real = ~np.isnan(marks.scores)
        np.testing.assert_array_equal(found[real], expected[real])


def test_too_many_near_scores_are_reported_unless_scores_are_exact():
    marks = Marks.of(np.full((2, 5), 0.5, np.float32), np.zeros((2, 5), int), "index")
    scores = np.full((2, 100), 0.5, np.float32)
    pairs = lambda i, j: scores[i, j]  # noqa: E731
    with pytest.raises(NearlyAllNear):
        Tally(scores, marks, np.arange(100), "index", 0.1, pairs, 7).counts()
    assert (Tally(scores, marks, np.arange(100), "index", 0.0, pairs, 7).counts() == 99).all()


def test_marks_stand_best_first_and_of_equal_ones_the_latest():
    marks = Marks.of(np.array([[0.5, -np.inf, 0.9, 0.5]], np.float32), np.array([[3, 8, 1, 6]]), "index")
    np.testing.assert_array_equal(marks.scores, np.float32([[0.9, 0.5, 0.5, np.nan]]))
    assert marks.places.tolist() == [[1, 6, 3, 8]]
    assert marks.lowest.tolist() == [0.5]
    assert marks.part(slice(0, 0)).scores.shape == (0, 4)
