"""SCAN, BFAN and late interaction as released: caption by caption, with attended vectors, in float64."""

from __future__ import annotations

import math

import numpy as np


def _l2(x: np.ndarray, axis: int) -> np.ndarray:
    return x / (np.sqrt((x**2).sum(axis=axis, keepdims=True)) + 1e-8)


def attention(source: np.ndarray, query: np.ndarray, smoothing: float, activation: str = "leaky_relu") -> np.ndarray:
    """Softmax over the source of each query: (q, d) asks (s, d) -> (q, s)."""
    products = source @ query.T
    products = np.where(products > 0, products, (0.1 if activation == "leaky_relu" else 0.0) * products)
    logits = smoothing * _l2(products, axis=1).T
    shares = np.exp(logits - logits.max(axis=1, keepdims=True))
    return shares / shares.sum(axis=1, keepdims=True)


def focused(shares: np.ndarray, focal: str) -> np.ndarray:
    """One query's shares (s,) with those dropped that BFAN drops, all kept where it would drop all."""
    n, kept = len(shares), []
    for own in shares:
        if focal == "equal":
            force, scale = sum(own - other for other in shares), sum(shares)
        else:
            force = sum((own - other) * math.sqrt(other) for other in shares)
            scale = sum(other * math.sqrt(other) for other in shares)
        # What the 1e-8 in the norm of a caption of one word makes of equal shares is not greater.
        kept.append(force > 1e-4 * scale)
    kept = np.array(kept) if any(kept) else np.ones(n, bool)
    chosen = shares * kept
    return chosen / chosen.sum()


def pair(
    source: np.ndarray, query: np.ndarray, pooling: str, smoothing: float, sharpness: float = 6.0,
    activation: str = "leaky_relu", focal: str = "none",
) -> float:  # fmt: skip
    """The score of one source with one query."""
    shares = attention(source, query, smoothing, activation)
    cosines = []
    for one, own in zip(query, shares, strict=True):
        own = own if focal == "none" else focused(own, focal)
        attended = own @ source
        cosines.append(float(one @ attended) / max(float(np.linalg.norm(one) * np.linalg.norm(attended)), 1e-8))
    if pooling == "avg":
        return sum(cosines) / len(cosines)
    return math.log(sum(math.exp(sharpness * cosine) for cosine in cosines)) / sharpness


def matrix(images, captions, direction: str = "t2i", pooling: str = "avg", **options) -> np.ndarray:
    """The scores of all images, (r, d) each, with all captions, (t, d) each."""
    scores = np.empty((len(images), len(captions)))
    for column, words in enumerate(captions):
        for row, regions in enumerate(images):
            source, query = (regions, words) if direction == "t2i" else (words, regions)
            scores[row, column] = pair(np.asarray(source), np.asarray(query), pooling, **options)
    return scores


def bfan(images, captions, focal: str, smoothing: float = 20.0) -> np.ndarray:
    options = {"focal": focal, "smoothing": smoothing}
    return matrix(images, captions, "t2i", **options) + matrix(images, captions, "i2t", **options)


def late(images, captions, direction: str = "t2i") -> np.ndarray:
    scores = np.empty((len(images), len(captions)))
    for column, words in enumerate(captions):
        for row, regions in enumerate(images):
            cosines = _l2(np.asarray(words), 1) @ _l2(np.asarray(regions), 1).T
            scores[row, column] = cosines.max(axis=1 if direction == "t2i" else 0).mean()
    return scores
