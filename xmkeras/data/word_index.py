"""Finds words in a fixed list inside the graph, without a lookup table.

Tables are stateful, which costs tf.data its parallelism under op determinism, and resources, which an export has to
track. A sorted array of hashes finds a word as fast.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf


class WordIndex:
    """The places of words in a list.

    Args:
        words: distinct words.
    """

    def __init__(self, words: Sequence[str]):
        with tf.init_scope():
            hashes = _hashes(tf.constant(list(words), tf.string, shape=(len(words),))).numpy()
        order = np.argsort(hashes)
        self._hashes = hashes[order]
        self._words = np.array(list(words), object)[order]
        self._places = order.astype(np.int32)

    def finder(self) -> Callable[[tf.Tensor], tf.Tensor]:
        """A function of the present graph: strings of any shape -> int32 places in the list, -1 where not there."""
        if not len(self._places):
            return lambda words: tf.fill(tf.shape(words), -1)
        hashes, places = tf.constant(self._hashes), tf.constant(self._places)
        listed = tf.constant(self._words, tf.string)

        def find(words: tf.Tensor) -> tf.Tensor:
            flat = tf.reshape(words, [-1])
            at = tf.minimum(tf.searchsorted(hashes, _hashes(flat)), len(self._places) - 1)
            found = tf.where(tf.gather(listed, at) == flat, tf.gather(places, at), -1)
            return tf.reshape(found, tf.shape(words))

        return find


def _hashes(words: tf.Tensor) -> tf.Tensor:
    return tf.strings.to_hash_bucket_fast(words, 2**62)
