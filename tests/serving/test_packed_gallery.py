"""What a gallery keeps of a set of embeddings."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tests.serving.toys import pair_score, sequences
from xmkeras.errors import UserError
from xmkeras.retrieval.embeddings import EmbeddingSet
from xmkeras.serving.packed_gallery import PackedGallery
from xmkeras.serving.scoring import Cosine, Euclidean, Pairs


def items(vectors) -> EmbeddingSet:
    return EmbeddingSet(np.array([f"ö{n}" for n in range(len(vectors))]), np.arange(len(vectors)), vectors)


def test_vectors_are_of_unit_length_for_the_cosine_alone():
    vectors = np.array([[3.0, 4.0], [0.0, 0.0]], "f4")
    np.testing.assert_allclose(
        PackedGallery("image", items(vectors), Cosine()).vectors, [[0.6, 0.8], [0, 0]], atol=1e-7
    )
    np.testing.assert_array_equal(PackedGallery("image", items(vectors), Euclidean()).vectors, vectors)


def test_sequences_are_padded_to_the_longest():
    parts = [np.ones((2, 3), "f4"), np.full((4, 3), 2.0, "f4"), np.full((1, 3), 5.0, "f4")]
    gallery = PackedGallery("text", items(sequences(parts)), Pairs(pair_score, within=False))
    assert gallery.dim == 3
    np.testing.assert_array_equal(tf.reduce_sum(gallery.vectors, axis=(1, 2)), [6.0, 24.0, 15.0])
    np.testing.assert_array_equal(tf.reduce_sum(tf.cast(gallery.mask, tf.int32), axis=1), [2, 4, 1])
    query = {"embedding": tf.constant([[[1.0, 0.0, 0.0]]]), "mask": tf.constant([[True]])}
    found = gallery.search(query, "image", 2)
    assert found["ids"].numpy().tolist() == [["ö2".encode(), "ö1".encode()]]
    np.testing.assert_array_equal(found["scores"], [[5.0, 2.0]])


def test_an_empty_gallery_is_one_sentence():
    with pytest.raises(UserError, match="gallery of texts to be packed holds none"):
        PackedGallery("text", items(np.zeros((0, 2), "f4")), Cosine())
