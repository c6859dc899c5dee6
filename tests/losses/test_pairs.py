"""Pairs, masks and distances that the losses share."""

from __future__ import annotations

import numpy as np
import pytest
from keras import ops

from tests.losses.checks import agree, array, value_and_gradients
from xmkeras.losses.pairs import all_pairs, choose, masked_mean, one_pair_a_class, root, squared_distances


def test_no_row_is_its_own_positive():
    pairs = all_pairs(np.eye(3), [0, 0, 1], None, None)
    assert array(pairs.positive).astype(int).tolist() == [[0, 1, 0], [1, 0, 0], [0, 0, 0]]
    assert array(pairs.negative).astype(int).tolist() == [[0, 0, 1], [0, 0, 1], [1, 1, 0]]


def test_two_sides_pair_every_row_with_every_other():
    pairs = all_pairs(np.eye(2), [0, 1], np.ones((3, 2)), [0, 0, 1])
    assert array(pairs.positive).astype(int).tolist() == [[1, 1, 0], [0, 0, 1]]


def test_the_first_two_rows_of_a_class_are_its_pair():
    anchors, positives = (array(places).tolist() for places in one_pair_a_class([7, 3, 5, 3, 7, 3, 9]))
    assert (anchors, positives) == ([0, 1], [4, 3])
    assert [array(places).tolist() for places in one_pair_a_class([1, 2])] == [[], []]


def test_labels_must_fit_their_rows():
    with pytest.raises(ValueError, match="labels must have one entry a row: 3 entries for 2 rows"):
        all_pairs(np.eye(2), [0, 1, 2], np.eye(2), [0, 1])


@pytest.mark.parametrize("length", [1e-2, 1.0, 1e4])
def test_equal_vectors_are_at_distance_zero_with_the_gradient_zero(length):
    x = np.random.default_rng(0).normal(0, length, (40, 512)).astype("f4")
    distances = array(root(squared_distances(x, x.copy())))
    assert not np.diagonal(distances).any()
    assert (distances + np.eye(40) > 0).all()
    gradient = value_and_gradients(lambda a: ops.sum(root(squared_distances(a, x))), x[:1])[1][0]
    assert np.isfinite(gradient).all()


def test_distances_agree_with_differences():
    x, z = np.random.default_rng(1).normal(0, 3, (2, 6, 9))
    want = ((x[:, None] - z) ** 2).sum(axis=2)
    agree(squared_distances(x.astype("f4"), z.astype("f4")), want, 1e-5, 1e-4)


def test_a_mean_of_nothing_is_zero():
    agree(masked_mean(np.ones((2, 2), "f4"), np.zeros((2, 2), bool)), 0)
    agree(masked_mean(np.array([1.0, 3.0, 8.0], "f4"), np.array([True, True, False])), 2)


def test_unknown_choices_are_named():
    with pytest.raises(ValueError, match="size must be one of s, m, not 'l'"):
        choose("size", "l", ("s", "m"))
