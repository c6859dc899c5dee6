"""Small retrievals: noisy captions of images, and coloured squares with captions that name the colour."""

import numpy as np

from tests.reference import ranking as reference
from xmkeras.retrieval.embeddings import EmbeddingSet
from xmkeras.retrieval.sequences import Sequences


def squares(images=12, captions=2, noise=0.8, seed=0):
    """Embeddings of images and captions, the captions, a thumbnail function, and the ids it was asked for."""
    generator = np.random.default_rng(seed)
    vectors = generator.standard_normal((images, 8)).astype(np.float32)
    ids = np.array([f"square {n}" for n in range(images)])
    owner = np.repeat(np.arange(images), captions)
    texts = vectors[owner] + noise * generator.standard_normal((len(owner), 8)).astype(np.float32)
    words = [f"a square of colour {n} for $5 & <b>more</b>, {'very ' * n}plain ." for n in owner]
    colours = generator.integers(0, 256, (images, 3), dtype=np.uint8)
    asked: list[str] = []

    def thumbnail(image_id: str) -> np.ndarray:
        asked.append(image_id)
        number = int(image_id.split()[1])
        return np.broadcast_to(colours[number], (10 + number, 24, 3))

    images_set = EmbeddingSet(ids, np.arange(images) // 3, vectors)
    return images_set, EmbeddingSet(ids[owner], owner // 3, texts), words, thumbnail, asked


def pairs(images=60, captions=3, dim=8, noise=1.0, seed=0):
    """Embeddings of images, four of a label, and of their captions."""
    generator = np.random.default_rng(seed)
    vectors = generator.standard_normal((images, dim)).astype(np.float32)
    ids, labels = np.array([f"i{n}" for n in range(images)]), np.arange(images) // 4
    texts = np.repeat(vectors, captions, 0) + noise * generator.standard_normal((images * captions, dim))
    return (
        EmbeddingSet(ids, labels, vectors),
        EmbeddingSet(np.repeat(ids, captions), np.repeat(labels, captions), texts.astype(np.float32)),
    )


def sets(seed, images=9, texts=14, classes=4):
    """Few distinct vectors, so that many scores tie; some zero vectors and duplicates."""
    generator = np.random.default_rng(seed)
    labels = [np.r_[0, generator.integers(0, classes, size - 1)] for size in (images, texts)]
    vectors = [generator.integers(-1, 2, (size, 2)).astype(np.float32) for size in (images, texts)]
    return [EmbeddingSet(np.arange(len(y)).astype(str), y, x) for x, y in zip(vectors, labels, strict=True)]


def rankings(queries, gallery, twin=reference.cosine_scores, ties="pessimistic"):
    """The ranked relevance of the queries that have an answer, by the loop twins."""
    rows = zip(twin(queries.vectors, gallery.vectors), queries.labels, strict=True)
    found = [reference.ranked_relevance(row, (gallery.labels == label).tolist(), ties) for row, label in rows]
    return [ranking for ranking in found if any(ranking)]


def ragged(lengths=(3, 1, 4, 1, 5, 0), dim=2, seed=0):
    """Sequences, and the same as a list of arrays."""
    parts = [np.random.default_rng(seed + i).standard_normal((n, dim)).astype("f4") for i, n in enumerate(lengths)]
    return Sequences(np.concatenate(parts), np.concatenate([[0], np.cumsum(lengths)])), parts
