"""Words are found in a list inside the graph."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from xmkeras.data.word_index import WordIndex


def test_places_of_words_of_any_shape():
    find = WordIndex(["red", "dress", "ü"]).finder()
    found = find(tf.constant([["dress", "blue"], ["ü", "red"]]))
    np.testing.assert_array_equal(found, [[1, -1], [2, 0]])


def test_an_empty_list_and_no_words():
    assert WordIndex([]).finder()(tf.constant(["a", "b"])).numpy().tolist() == [-1, -1]
    assert WordIndex(["a"]).finder()(tf.zeros([0], tf.string)).shape == (0,)


def test_every_word_of_a_large_list_is_found_and_the_graph_is_stateless():
    words = [f"word{number}" for number in range(20_000)]
    find = tf.function(lambda texts: WordIndex(words).finder()(texts))
    order = np.random.default_rng(0).permutation(len(words))
    np.testing.assert_array_equal(find(tf.constant(np.array(words)[order])), order)
    graph = find.get_concrete_function(tf.TensorSpec([None], tf.string)).graph
    assert not [op.type for op in graph.get_operations() if "Table" in op.type]
