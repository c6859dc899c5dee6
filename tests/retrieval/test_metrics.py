"""Recall, chance values against a literal twin and a simulation, and the paired bootstrap."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.reference import ranking as reference
from xmkeras.retrieval import metrics


def test_recall_median_and_mean_rank():
    ranks = np.array([0, 4, 5, 30])
    assert [metrics.recall_at_k(ranks, k) for k in (1, 5, 10)] == [25.0, 50.0, 75.0]
    assert metrics.median_rank(ranks) == 5  # floor(4.5) + 1
    assert metrics.mean_rank(ranks) == 39 / 4 + 1


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 30), st.integers(1, 40), st.data())
def test_chance_recall_equals_the_loop_twin(gallery, k, data):
    relevant = data.draw(st.lists(st.integers(1, gallery), min_size=1, max_size=5))
    expected = 100 * np.mean([reference.chance_recall(count, gallery, k) for count in relevant])
    assert metrics.chance_recall_at_k(np.array(relevant), gallery, k) == pytest.approx(expected)


def test_chance_of_one_right_answer_in_a_hundred():
    relevant = np.ones(50, np.int64)
    assert metrics.chance_recall_at_k(relevant, 100, 10) == pytest.approx(10.0)
    assert metrics.chance_recall_at_k(relevant, 5, 10) == pytest.approx(100.0)
    assert metrics.chance_mean_rank(relevant, 100) == 50.5
    assert metrics.chance_median_rank(relevant, 100) == 50


def test_chance_values_agree_with_random_orders():
    generator = np.random.default_rng(0)
    relevant, gallery = np.repeat([1, 3, 8], 4000), 40
    best = np.array([generator.permutation(gallery)[:count].min() for count in relevant])
    for k in (1, 5, 10):
        assert metrics.chance_recall_at_k(relevant, gallery, k) == pytest.approx(np.mean(best < k) * 100, abs=1)
    assert metrics.chance_mean_rank(relevant, gallery) == pytest.approx(best.mean() + 1, abs=0.2)
    assert metrics.chance_median_rank(relevant, gallery) == pytest.approx(np.median(best) + 1, abs=1)


def test_less_is_better_of_ranks_alone():
    falling = ["text_to_image/median_rank", "whole/image_to_text/mean_rank", "mean_rank"]
    rising = ["rsum", "image_to_text/R@1", "mAP", "image_to_text/class_accuracy", "NMI", "text_to_image/mINP"]
    assert [metrics.lower_is_better(name) for name in falling + rising] == [True] * 3 + [False] * 6


def test_bootstrap_of_a_constant_difference_is_certain():
    first = np.linspace(0, 100, 30)
    result = metrics.paired_bootstrap(first + 2, first, samples=999)
    assert (result.mean, result.low, result.high) == pytest.approx((2, 2, 2))
    assert result.p == pytest.approx(2 / 1000)


def test_bootstrap_of_no_difference_finds_none():
    same = np.arange(10.0)
    result = metrics.paired_bootstrap(same, same)
    assert (result.mean, result.low, result.high, result.p) == (0, 0, 0, 1)


def test_bootstrap_interval_is_the_normal_one_for_many_queries():
    difference = np.random.default_rng(1).normal(0.5, 3.0, 2000)
    result = metrics.paired_bootstrap(difference, np.zeros(2000), seed=3)
    error = difference.std() / np.sqrt(2000)
    assert result.low == pytest.approx(result.mean - 1.96 * error, abs=0.15 * error)
    assert result.high == pytest.approx(result.mean + 1.96 * error, abs=0.15 * error)
    assert result == metrics.paired_bootstrap(difference, np.zeros(2000), seed=3)
    assert str(result).startswith(f"{result.mean:+.2f} [")


def test_unpaired_results_are_refused():
    with pytest.raises(ValueError, match="not paired"):
        metrics.paired_bootstrap(np.zeros(3), np.zeros(4))


def test_the_mean_of_what_images_add_is_the_sum_of_recalls():
    image_ids, text_ids = np.array(["b", "a", "c"]), np.array(["a", "a", "b", "c", "c", "c"])
    generator = np.random.default_rng(0)
    image_ranks, text_ranks = generator.integers(0, 12, 3), generator.integers(0, 12, 6)
    parts = metrics.rsum_by_image(image_ranks, text_ranks, image_ids, text_ids)
    rsum = sum(metrics.recall_at_k(ranks, k) for ranks in (image_ranks, text_ranks) for k in (1, 5, 10))
    assert parts.mean() == pytest.approx(rsum)
    own = sum((image_ranks[1] < k) + 3 / 6 * (text_ranks[:2] < k).sum() for k in (1, 5, 10))
    assert parts[1] == pytest.approx(100 * own)
