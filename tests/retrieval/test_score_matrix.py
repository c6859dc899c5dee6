"""Scores in shards against one loop over pairs, the file on disk, ensembles, and ranking by place."""

import resource

import numpy as np
import pytest

from tests.reference.ranking import pair_scores
from xmkeras.errors import UserError
from xmkeras.retrieval import score_matrix
from xmkeras.retrieval.both_ways import rank_both_ways
from xmkeras.retrieval.embeddings import EmbeddingSet
from xmkeras.retrieval.ranking import relevant_ranks, top_k
from xmkeras.retrieval.score_matrix import MatrixScore, by_place
from xmkeras.retrieval.scores import turned
from xmkeras.retrieval.sequences import Sequences


def side(lengths, dim=4, seed=0):
    values = np.random.default_rng(seed).standard_normal((int(np.sum(lengths)), dim)).astype(np.float32)
    items = Sequences(values, np.concatenate([[0], np.cumsum(lengths)]))
    ids = np.array([f"i{n}" for n in range(len(lengths))])
    return EmbeddingSet(ids, np.arange(len(lengths)) % 3, items)


def best_region_of_each_word(images, texts):
    """The mean over the words of the greatest inner product with a region; padding must not count."""
    (regions, own), (words, spoken) = images, texts
    products = np.einsum("ard,bwd->abwr", regions, words)
    best = np.where(own[:, None, None], products, -np.inf).max(axis=-1)
    return np.where(spoken, best, 0).sum(axis=-1) / spoken.sum(axis=-1)


@pytest.mark.parametrize("shard", [(128, 256), (3, 4), (1, 5), (1, 1)])
def test_shards_equal_one_loop_over_the_pairs(tmp_path, shard):
    images, texts = side([3, 1, 6, 2, 2, 5, 1]), side([1, 9, 2, 4, 1, 1, 7, 3, 12, 5, 2], seed=1)
    sizes = []

    def score(one, other):
        sizes.append((len(one[0]), len(other[0])))
        return best_region_of_each_word(one, other)

    matrix = score_matrix.compute(tmp_path / "scores" / "test.npy", images, texts, score, shard=shard)
    regions, words = (np.split(items.vectors.values, items.vectors.starts[1:-1]) for items in (images, texts))
    np.testing.assert_allclose(matrix, pair_scores(regions, words), atol=1e-6)
    assert isinstance(matrix, np.memmap)
    assert matrix.dtype == np.float32
    assert np.max(sizes, axis=0).tolist() == [min(shard[0], 7), min(shard[1], 11)]


def test_texts_share_a_shard_with_those_of_their_length(tmp_path):
    images, texts = side([2, 2]), side([1, 9, 2, 4, 1, 1, 7, 3], seed=1)
    longest = []

    def score(one, other):
        longest.append(other[0].shape[1])
        return best_region_of_each_word(one, other)

    score_matrix.compute(tmp_path / "m.npy", images, texts, score, shard=(2, 3))
    assert longest == [1, 4, 9]


def test_vectors_are_scored_as_they_are(tmp_path):
    images, texts = (
        EmbeddingSet(np.arange(n).astype(str), np.zeros(n, int), np.random.default_rng(n).normal(size=(n, 3)))
        for n in (5, 8)
    )
    matrix = score_matrix.compute(tmp_path / "m.npy", images, texts, lambda a, b: a @ b.T, shard=(2, 3))
    np.testing.assert_allclose(matrix, images.vectors @ texts.vectors.T, atol=1e-6)


def test_a_failed_matrix_leaves_the_old_one_and_nothing_else(tmp_path):
    path = tmp_path / "m.npy"
    images = side([2, 3])
    score_matrix.compute(path, images, images, best_region_of_each_word)
    before = path.read_bytes()
    with pytest.raises(ValueError, match=r"\(2, 1\) for 2 images and 2 texts"):
        score_matrix.compute(path, images, images, lambda a, b: np.zeros((2, 1)))
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_is_one_sentence(tmp_path):
    items = EmbeddingSet(np.arange(300).astype(str), np.zeros(300, int), np.zeros((300, 2), np.float32))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(UserError, match=r"m\.npy cannot be written: File too large; free some space"):
            score_matrix.compute(tmp_path / "m.npy", items, items, lambda a, b: a @ b.T)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not list(tmp_path.iterdir())
    with pytest.raises(UserError, match="cannot be written"):
        score_matrix.compute("/proc/nowhere/m.npy", items, items, lambda a, b: a @ b.T)


def test_an_ensemble_is_the_mean_of_its_matrices(tmp_path):
    one, other = (np.random.default_rng(n).normal(size=(300, 7)).astype("f4") for n in (0, 1))
    found = score_matrix.mean([one, other], tmp_path / "mean.npy")
    np.testing.assert_allclose(found, (one.astype(float) + other) / 2, atol=1e-6)
    with pytest.raises(UserError, match=r"\(7, 300\), \(300, 7\)"):
        score_matrix.mean([one, one.T], tmp_path / "no.npy")
    with pytest.raises(UserError, match="same split"):
        score_matrix.mean([], tmp_path / "no.npy")


@pytest.fixture
def numbered():
    """Images and texts by place, and a matrix of distinct scores."""
    ids = np.array([f"i{n}" for n in range(12)])
    images = EmbeddingSet(ids, np.arange(12) % 3, np.zeros((12, 5)))
    texts = EmbeddingSet(np.repeat(ids, 2), np.repeat(np.arange(12) % 3, 2), np.zeros((24, 5)))
    scores = np.random.default_rng(0).permutation(12 * 24).reshape(12, 24).astype(np.float32)
    return by_place(images), by_place(texts), scores


def test_a_matrix_is_ranked_both_ways(numbered):
    images, texts, scores = numbered
    ranked = rank_both_ways(images, texts, score=MatrixScore(scores))
    own = images.ids[:, None] == texts.ids
    for ranks, table, mine in ((ranked.image_to_text, scores, own), (ranked.text_to_image, scores.T, own.T)):
        best = np.where(mine, table, -1).max(axis=1, keepdims=True)
        assert ranks.tolist() == (table > best).sum(axis=1).tolist()
    by_texts = turned(MatrixScore(scores))
    everything = next(relevant_ranks(texts.vectors, images.vectors, texts.labels, images.labels, score=by_texts))
    order = np.argsort(-scores.T, axis=1)
    expected = [np.flatnonzero(images.labels[row] == label) for row, label in zip(order, texts.labels, strict=True)]
    np.testing.assert_array_equal(everything.ranks, np.array(expected)[everything.queries])


def test_a_part_keeps_the_places_of_the_whole(numbered):
    images, texts, scores = numbered
    rows = np.array([7, 2, 5])
    own, captions = images.take(rows), texts.take(np.isin(texts.ids, images.ids[rows]))
    part = rank_both_ways(own, captions, score=MatrixScore(scores))
    cut = EmbeddingSet(own.ids, own.labels, np.arange(3)[:, None])
    again = scores[rows][:, captions.vectors[:, 0]]
    alone = rank_both_ways(cut, by_place(captions), score=MatrixScore(again))
    np.testing.assert_array_equal(part.image_to_text, alone.image_to_text)
    np.testing.assert_array_equal(part.text_to_image, alone.text_to_image)
    found, values = top_k(texts.vectors[[3]], own.vectors, 2, score=turned(MatrixScore(scores)))
    np.testing.assert_array_equal(found, np.argsort(-scores[rows, 3])[None, :2])
    np.testing.assert_array_equal(values, np.sort(scores[rows, 3])[None, ::-1][:, :2])
