"""The exact cosine: equal items score equally wherever they stand, and the fast product keeps its promise."""

import numpy as np
import pytest

from tests.reference import ranking as reference
from xmkeras.retrieval.scores import Cosine, Custom, Euclidean, normalised, scorer_of, turned


def unit_vectors(count, dim, seed=0):
    return normalised(np.random.default_rng(seed).standard_normal((count, dim)).astype(np.float32))


def test_rows_get_length_one_but_zero_and_nan_stay():
    vectors = np.array([[3, 4], [0, 0], [np.nan, 1], [1e-12, 0]], np.float64)
    unit = normalised(vectors)
    assert unit.dtype == np.float32
    np.testing.assert_allclose(unit[[0, 1, 3]], [[0.6, 0.8], [0, 0], [1, 0]])
    assert np.isnan(unit[2]).all()
    assert vectors[0, 0] == 3


@pytest.mark.parametrize("dim", [1, 7, 512, 2048])
def test_the_fast_product_is_within_its_slack(dim):
    left, right = unit_vectors(40, dim), unit_vectors(60, dim, seed=1)
    exact = left.astype(np.float64) @ right.T.astype(np.float64)
    assert np.abs(Cosine().tile(left, right) - exact).max() < Cosine().slack(left, right)


def test_pairs_equal_the_loop_twin():
    left, right = unit_vectors(5, 9), unit_vectors(6, 9, seed=1)
    i, j = np.divmod(np.arange(30), 6)
    expected = np.array(reference.cosine_scores(left, right)).ravel()
    np.testing.assert_allclose(Cosine().pairs(normalised(left), normalised(right), i, j), expected, rtol=1e-6)


def test_equal_vectors_score_equally_among_few_pairs_and_among_many():
    left = unit_vectors(100, 300)
    right = np.tile(unit_vectors(1, 300, seed=2), (211, 1))
    i, j = np.divmod(np.arange(100 * 211), 211)
    many = Cosine().pairs(left, right, i, j).reshape(100, 211)
    assert (many == many[:, :1]).all()
    few = Cosine().pairs(left, right, np.arange(100), np.arange(100))
    np.testing.assert_array_equal(few, many[:, 0])


def test_a_function_of_blocks_is_taken_as_exact():
    scorer = Custom(lambda left, right: left[:, None] * 10 + right)
    tile = scorer.tile(np.arange(2), np.arange(3))
    assert tile.dtype == np.float32
    assert tile.tolist() == [[0, 1, 2], [10, 11, 12]]
    assert scorer.pairs(np.arange(2), np.arange(3), np.array([1]), np.array([2])).tolist() == [12]
    assert scorer.slack(tile, tile) == 0
    with pytest.raises(ValueError, match="blocks of 2 and 3"):
        Custom(lambda left, right: left).tile(np.arange(2), np.arange(3))


def test_the_scores_of_a_function_are_not_overwritten():
    table = np.zeros((2, 3), np.float32)
    Custom(lambda left, right: table).tile(np.arange(2), np.arange(3))[:] = 7
    assert (table == 0).all()


def test_a_function_may_return_its_scores_in_any_layout():
    table = np.arange(6.0).reshape(3, 2)
    assert Custom(lambda left, right: table.T).tile(np.arange(2), np.arange(3)).flags.c_contiguous


def test_distances_are_exact_for_pairs_and_blocks_and_near_in_the_fast_product():
    generator = np.random.default_rng(0)
    left, right = (3 + generator.standard_normal((size, 33)).astype(np.float32) for size in (20, 30))
    right[4] = left[2]
    expected = np.array(reference.minus_squared_distances(left, right))
    prepared = [Euclidean().prepare(side) for side in (left, right)]
    i, j = np.divmod(np.arange(600), 30)
    np.testing.assert_array_equal(Euclidean().pairs(*prepared, i, j).reshape(20, 30), Euclidean().exact(*prepared))
    np.testing.assert_allclose(Euclidean().exact(*prepared), expected, rtol=1e-6)
    assert Euclidean().exact(*prepared)[2, 4] == 0
    assert np.abs(Euclidean().tile(*prepared) - expected).max() < Euclidean().slack(*prepared)


def test_scores_have_names():
    assert isinstance(scorer_of(None), Cosine)
    assert isinstance(scorer_of("cosine"), Cosine)
    assert isinstance(scorer_of("euclidean"), Euclidean)
    with pytest.raises(ValueError, match="'manhattan'"):
        scorer_of("manhattan")


def test_a_turned_score_takes_its_blocks_the_other_way_round():
    table = np.arange(6.0).reshape(2, 3)
    back = turned(lambda left, right: table[np.ix_(left, right)])
    np.testing.assert_array_equal(back(np.arange(3), np.arange(2)), table.T)
    assert turned(None) is None
    assert turned("euclidean") == "euclidean"
