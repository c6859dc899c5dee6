"""The parts that ranking counts with: sides in the order of their keys, blocks, and what is learnt and counted."""

import numpy as np

from xmkeras.retrieval.counting import All, Best, Comparison, Side, blocks, tile_columns, tile_shape


def lookup(table):
    return lambda left, right: table[np.ix_(left, right)]


def test_blocks_cover_a_range_once():
    assert list(blocks(7, 3)) == [slice(0, 3), slice(3, 6), slice(6, 7)]
    assert list(blocks(7, 3, 5)) == [slice(5, 7)]
    assert list(blocks(0, 3)) == []


def test_wide_tiles_need_many_bytes_and_narrow_ones_have_a_least_width():
    assert tile_columns(2**22) == 1024
    assert tile_columns(1) == 64


def test_many_marks_make_tiles_wider_within_the_same_bytes():
    assert [tile_shape(2**22, marks) for marks in (1, 256, 257, 5000)] == [
        (1024, 1024),
        (1024, 1024),
        (512, 2048),
        (128, 8192),
    ]


def compared(table, query_keys, gallery_keys, ties="pessimistic"):
    sides = [Side(np.arange(size), keys) for size, keys in zip(table.shape, (query_keys, gallery_keys), strict=True)]
    return Comparison(*sides, ties, lookup(table.astype(np.float32)), 2**20)


def test_keys_with_fewer_answers_come_first_on_both_sides():
    found = compared(np.zeros((3, 4)), ["a", "b", "a"], ["a", "b", "c", "a"])
    assert found.rows.order.tolist() == [1, 0, 2]
    assert found.columns.order.tolist() == [1, 2, 0, 3]
    first, last = found.rows.span(found.columns)
    assert (last - first).tolist() == [1, 2, 2]


def test_both_sides_learn_their_best_relevant_item_and_who_stands_before_it():
    table = np.array([[0.1, 0.9, 0.5], [0.7, 0.7, 0.7]])
    found = compared(table, ["b", "a"], ["b", "a", "b"])
    rows, columns = Best(2), Best(3)
    found.learn(slice(0, 2), rows, columns)
    np.testing.assert_allclose(rows.scores, np.float32([0.7, 0.5]))
    assert rows.places.tolist() == [1, 2]
    ahead, behind = found.count(slice(0, 2), rows.marks("pessimistic"), columns.marks("pessimistic"))
    assert ahead.tolist() == [[2], [1]]
    assert behind.tolist() == [[1], [1], [1]]


def test_all_relevant_items_are_learnt_best_first_and_the_item_itself_is_left_out():
    table = np.array([[0.9, 0.2, 0.4], [0.2, 0.8, 0.8], [0.4, 0.8, np.nan]])
    found = compared(table, [5, 5, 5], [5, 5, 5], "index")
    whole, others = All(*found.rows.span(found.columns), None), All(*found.rows.span(found.columns), 0)
    for learner in (whole, others):
        found.learn(slice(0, 3), learner)
    np.testing.assert_allclose(whole.marks("index").scores[:2], np.float32([[0.9, 0.4, 0.2], [0.8, 0.8, 0.2]]))
    assert whole.marks("index").places[1].tolist() == [2, 1, 0]
    np.testing.assert_allclose(
        others.marks("index").scores, np.float32([[0.4, 0.2, np.nan], [0.8, 0.2, np.nan], [0.8, 0.4, np.nan]])
    )


def test_some_rows_are_counted_by_themselves():
    table = np.array([[0.1, 0.9], [0.7, 0.2]])
    found = compared(table, [0, 1], [0, 1])
    best = Best(1)
    found.learn(slice(1, 2), best)
    ahead, none = found.count(slice(1, 2), best.marks("pessimistic"))
    assert ahead.tolist() == [[1]]
    assert none.size == 0


def test_each_block_of_scores_is_asked_for_within_the_limit():
    sizes = []

    def score(left, right):
        sizes.append(4 * len(left) * len(right))
        return np.zeros((len(left), len(right)))

    sides = [Side(np.arange(size), np.arange(size)) for size in (1500, 900)]
    found = Comparison(*sides, "pessimistic", score, 2**18)
    best = Best(1500)
    found.learn(slice(0, 1500), best)
    found.count(slice(0, 1500), best.marks("pessimistic"))
    assert max(sizes) <= 2**18
