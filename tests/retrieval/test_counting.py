"""The parts that ranking counts with: sides in the order of their keys, blocks, and what a tile adds."""

import numpy as np

from xmkeras.retrieval.counting import Side, blocks, rank, tile_columns


def lookup(table):
    return lambda left, right: table[np.ix_(left, right)]


def test_blocks_cover_a_range_once():
    assert list(blocks(7, 3)) == [slice(0, 3), slice(3, 6), slice(6, 7)]
    assert list(blocks(7, 3, 5)) == [slice(5, 7)]
    assert list(blocks(0, 3)) == []


def test_wide_tiles_need_many_bytes_and_narrow_ones_have_a_least_width():
    assert tile_columns(2**21) == 1024
    assert tile_columns(1) == 64


def test_both_sides_learn_their_best_relevant_score_and_who_stands_before_it():
    table = np.array([[0.1, 0.9, 0.5], [0.7, 0.7, 0.7]], np.float32)
    queries, gallery = Side(np.arange(2), ["b", "a"]), Side(np.arange(3), ["b", "a", "b"])
    rank(queries, gallery, "pessimistic", lookup(table), 2**20)
    assert queries.ranks(gallery).tolist() == [1, 2]
    assert gallery.ranks(queries).tolist() == [1, 1, 1]
    in_order_of_keys = queries.order.tolist()
    assert in_order_of_keys == [1, 0]
    np.testing.assert_allclose(queries.best, [0.7, 0.5])
    assert queries.best_index.tolist() == [1, 2]
    assert queries.relevant(gallery).tolist() == [1, 2]


def test_a_side_that_is_not_wanted_counts_nothing():
    queries, gallery = Side(np.arange(2), [0, 1]), Side(np.arange(2), [0, 1], wanted=False)
    rank(queries, gallery, "pessimistic", lookup(np.array([[0, 1], [1, 0]])), 2**20)
    assert queries.ahead.tolist() == [1, 1]
    assert gallery.ahead.tolist() == [0, 0]


def test_each_block_of_scores_is_asked_for_within_the_limit():
    sizes = []

    def score(left, right):
        sizes.append(4 * len(left) * len(right))
        return np.zeros((len(left), len(right)))

    side = Side(np.arange(1500), np.arange(1500))
    rank(side, Side(np.arange(900), np.arange(900), wanted=False), "pessimistic", score, 2**18)
    assert max(sizes) <= 2**18
