"""Embeddings written in a stream, read back mapped, and never half replaced."""

import numpy as np
import pytest

from tests.retrieval.examples import ragged
from xmkeras.errors import UserError
from xmkeras.retrieval.embeddings import EmbeddingSet, EmbeddingWriter


def example(count=7, dim=5, seed=0):
    vectors = np.random.default_rng(seed).standard_normal((count, dim)).astype(np.float32)
    ids = np.array([f"bild {i} “ü”\n" for i in range(count)])
    return EmbeddingSet(ids, np.arange(count, dtype=np.int64) % 3, vectors)


def test_a_saved_set_comes_back_equal_and_memory_mapped(tmp_path):
    one = example()
    one.save(tmp_path / "deep" / "images", block=3)
    back = EmbeddingSet.load(tmp_path / "deep" / "images")
    assert isinstance(back.vectors, np.memmap)
    assert back.ids.tolist() == one.ids.tolist()
    assert back.labels.dtype == np.int64
    np.testing.assert_array_equal(back.labels, one.labels)
    np.testing.assert_array_equal(back.vectors, one.vectors)


def test_the_vectors_are_a_plain_npy_file_of_any_length(tmp_path):
    example(count=1234, dim=3).save(tmp_path / "set", block=100)
    assert np.load(tmp_path / "set" / "vectors.npy").shape == (1234, 3)


def test_an_empty_set_can_be_saved_and_loaded(tmp_path):
    with EmbeddingWriter(tmp_path / "none", dim=4):
        pass
    assert EmbeddingSet.load(tmp_path / "none").vectors.shape == (0, 4)


def test_take_keeps_the_order_asked_for():
    one = example()
    assert one.take(np.array([3, 1])).ids.tolist() == [one.ids[3], one.ids[1]]
    assert len(one.take(one.labels == 0)) == 3


def test_saving_again_replaces_and_a_failed_writer_changes_nothing(tmp_path):
    example(seed=1).save(tmp_path / "set")
    example(count=3, seed=2).save(tmp_path / "set")
    with pytest.raises(ValueError, match="not n of 5"), EmbeddingWriter(tmp_path / "set", 5) as writer:
        writer.append(["x"], [0], np.zeros((1, 4)))
    assert len(EmbeddingSet.load(tmp_path / "set")) == 3
    assert [path.name for path in tmp_path.iterdir()] == ["set"]


def test_padded_batches_are_written_as_sequences_and_read_back_mapped(tmp_path):
    items, _ = ragged()
    with EmbeddingWriter(tmp_path / "texts", 2) as writer:
        for rows in (slice(0, 2), slice(2, 6)):
            vectors, mask = items.padded(rows)
            vectors[~mask] = 7
            writer.append([str(i) for i in range(6)[rows]], np.arange(6)[rows], vectors, mask)
        assert writer.count == 6
    back = EmbeddingSet.load(tmp_path / "texts")
    assert isinstance(back.vectors.values, np.memmap)
    np.testing.assert_array_equal(back.vectors.values, items.values)
    np.testing.assert_array_equal(back.vectors.starts, items.starts)
    back.take(np.array([3, 2])).save(tmp_path / "two", block=1)
    for one, other in zip(EmbeddingSet.load(tmp_path / "two").block(slice(None)), items.padded([3, 2]), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_set_holds_one_kind_of_items_and_a_later_set_of_vectors_leaves_no_starts(tmp_path):
    items, _ = ragged()
    EmbeddingSet(np.array(list("abcdef")), np.arange(6), items).save(tmp_path / "set")
    vectors, mask = items.padded(slice(0, 2))
    for first, second in (((vectors[:, 0],), (vectors, mask)), ((vectors, mask), (vectors[:, 0],))):
        writer = EmbeddingWriter(tmp_path / "mixed", 2)
        writer.append("ab", [0, 1], *first)
        with pytest.raises(ValueError, match="a mask, or none"):
            writer.append("ab", [0, 1], *second)
    example().save(tmp_path / "set")
    assert EmbeddingSet.load(tmp_path / "set").vectors.shape == (7, 5)


def test_a_block_of_vectors_is_an_array():
    one = example()
    np.testing.assert_array_equal(one.block(np.array([2, 0])), one.vectors[[2, 0]])


def test_lengths_that_differ_are_refused():
    with pytest.raises(ValueError, match="must be"):
        EmbeddingSet(np.array(["a"]), np.zeros(2, np.int64), np.zeros((2, 3), np.float32))


def test_missing_and_damaged_files_are_explained(tmp_path):
    with pytest.raises(UserError, match="is missing"):
        EmbeddingSet.load(tmp_path / "nothing")
    example().save(tmp_path / "set")
    (tmp_path / "set" / "labels.npy").write_bytes(b"")
    with pytest.raises(UserError, match="damaged"):
        EmbeddingSet.load(tmp_path / "set")
