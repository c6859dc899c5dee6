"""A small retrieval with pictures: coloured squares, and captions that name the colour."""

import numpy as np

from xmkeras.retrieval.embeddings import EmbeddingSet


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
