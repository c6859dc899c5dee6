"""Which queries are shown, and what they found."""

import numpy as np
import pytest

from tests.retrieval.examples import squares
from xmkeras.retrieval.answers import answer, best_typical_worst, choose_queries
from xmkeras.retrieval.both_ways import rank_both_ways


def test_best_typical_and_worst_are_chosen_without_repetition():
    ranks, asked = np.array([0, 9, 4, 5, 7, 0, 100]), np.array([True] * 6 + [False])
    chosen = choose_queries(ranks, asked, 2)
    assert list(chosen) == ["best", "typical", "worst"]
    assert set(chosen["best"]) == {0, 5}
    assert chosen["worst"].tolist() == [1, 4]
    assert set(chosen["typical"]) == {2, 3}


@pytest.mark.parametrize("size", [1, 3])
def test_few_queries_are_shown_once(size):
    chosen = choose_queries(np.arange(size), np.ones(size, bool), 3)
    assert sorted(np.concatenate(list(chosen.values())).tolist()) == list(range(size))


def test_answers_agree_with_the_ranks():
    images, texts, *_ = squares()
    ranked = rank_both_ways(images, texts)
    for found in answer(texts, images, np.arange(len(texts)), ranked.text_to_image, k=4):
        assert images.ids[found.wanted] == texts.ids[found.query]
        assert found.right.any() == (found.rank < 4)
        if found.right.any():
            assert int(np.argmax(found.right)) == found.rank
        assert (np.diff(found.scores) <= 0).all()


def test_answers_by_label_mark_everything_of_the_class():
    images, texts, *_ = squares(noise=0.0)
    ranked = rank_both_ways(images, texts, relevance="label")
    found = answer(texts, images, np.array([0]), ranked.text_to_image, k=12, relevance="label")[0]
    assert found.right.sum() == 3


def test_items_that_search_among_themselves_leave_themselves_out():
    images, *_ = squares()
    twins = images.take(np.array([0, 0, 1, 5, 7]))
    found = answer(twins, None, np.array([0, 1]), np.zeros(5, int), k=9, relevance="label")
    assert [sorted(one.answers.tolist()) for one in found] == [[1, 2, 3, 4], [0, 2, 3, 4]]
    assert [one.answers[0] for one in found] == [1, 0]
    assert found[0].right[0]
    assert found[0].wanted == 1


def test_titles_tell_the_median_rank_and_lonely_items_are_not_shown():
    images, texts, *_ = squares()
    ranks = rank_both_ways(images, texts).text_to_image
    found = best_typical_worst(texts, images, ranks, examples=2, k=3, relevance="id", score=None)
    median = int(np.median(ranks)) + 1
    assert list(found) == ["Best", f"Typical (median rank {median} of 12)", "Worst"]
    alone = images.take(np.array([0, 1, 2, 3]))
    among = best_typical_worst(alone, None, np.arange(4), examples=9, k=2, relevance="label", score=None)
    assert sorted(one.query for rows in among.values() for one in rows) == [0, 1, 2]
    assert "Typical (median rank 2 of 3)" in among
