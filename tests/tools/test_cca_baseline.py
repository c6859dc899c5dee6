"""Regularised CCA against a planted subspace, scikit-learn, and a literal count of recalls."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.cross_decomposition import CCA

from tools.cca_baseline import choose, fit_cca, recalls
from tools.cca_features import Photographs


def planted(rows: int, *, noise: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Two views (rows, 8) and (rows, 6) of the same two hidden directions (rows, 2)."""
    random = np.random.default_rng(seed)
    hidden = random.normal(size=(rows, 2))
    first = np.hstack([hidden, random.normal(size=(rows, 6))]) @ random.normal(size=(8, 8))
    second = np.hstack([hidden + noise * random.normal(size=(rows, 2)), random.normal(size=(rows, 4))])
    return first, second @ random.normal(size=(6, 6)), hidden


def test_recovers_the_planted_subspace() -> None:
    first, second, hidden = planted(2000, noise=0.1)
    cca = fit_cca(first, second, 1e-6, 1e-6)
    found = (first - cca.image_mean) @ cca.image_map[:, :2]
    fitted = found @ np.linalg.lstsq(found, hidden, rcond=None)[0]
    assert np.all(cca.correlations[:2] > 0.98)
    assert np.all(cca.correlations[2:] < 0.15)
    assert np.mean((fitted - hidden) ** 2) < 0.02


def test_directions_and_correlations_equal_scikit_learn_where_the_ridge_is_tiny() -> None:
    first, second, _ = planted(500, noise=0.5)
    cca = fit_cca(first, second, 1e-10, 1e-10)
    theirs = CCA(n_components=2, max_iter=5000, tol=1e-12).fit(first, second)
    our_scores = (first - cca.image_mean) @ cca.image_map[:, :2]
    their_scores, their_texts = theirs.transform(first, second)
    for axis in range(2):
        assert abs(np.corrcoef(our_scores[:, axis], their_scores[:, axis])[0, 1]) == pytest.approx(
            1, abs=1e-4
        )
        correlation = np.corrcoef(their_scores[:, axis], their_texts[:, axis])[0, 1]
        assert cca.correlations[axis] == pytest.approx(correlation, abs=1e-4)


def test_ridge_solves_the_regularised_eigenproblem() -> None:
    first, second, _ = planted(60, noise=0.5)
    cca = fit_cca(first, second, 0.3, 0.7)
    x, y = first - first.mean(axis=0), second - second.mean(axis=0)
    sxx, syy, sxy = x.T @ x / 60, y.T @ y / 60, x.T @ y / 60
    sxx += 0.3 * np.trace(sxx) / 8 * np.eye(8)
    syy += 0.7 * np.trace(syy) / 6 * np.eye(6)
    values = np.linalg.eigvals(np.linalg.solve(sxx, sxy) @ np.linalg.solve(syy, sxy.T)).real
    np.testing.assert_allclose(cca.correlations, np.sqrt(np.sort(values)[::-1][:6]), atol=1e-8)
    np.testing.assert_allclose(cca.image_map.T @ sxx @ cca.image_map, np.eye(6), atol=1e-8)
    np.testing.assert_allclose(cca.text_map.T @ syy @ cca.text_map, np.eye(6), atol=1e-8)


def test_recalls_equal_a_literal_count() -> None:
    random = np.random.default_rng(3)
    owner = np.repeat(np.arange(30), 3)
    scores = random.integers(0, 12, size=(90, 30)).astype(float)
    expected = {}
    for k in (1, 5, 10):
        hits = sum(sum(s >= row[owner[q]] for s in row) - 1 < k for q, row in enumerate(scores))
        expected[f"text_to_image/R@{k}"] = 100 * hits / 90
        hits = 0
        for image in range(30):
            best = max(scores[q, image] for q in range(90) if owner[q] == image)
            hits += sum(scores[q, image] >= best for q in range(90) if owner[q] != image) < k
        expected[f"image_to_text/R@{k}"] = 100 * hits / 30
    found = recalls(scores, owner)
    assert {name: found[name] for name in expected} == pytest.approx(expected)
    assert found["rsum"] == pytest.approx(sum(expected.values()))


def test_ties_count_against_the_model() -> None:
    assert recalls(np.zeros((12, 12)), np.arange(12))["rsum"] == 0


def photographs(words: np.ndarray, *, seed: int) -> Photographs:
    """Images whose features are noisy mixtures of the objects that their two captions name."""
    random = np.random.default_rng(seed)
    names = np.array([f"object{number}" for number in range(12)])
    shown = np.array([random.choice(12, size=3, replace=False) for _ in range(80)])
    features = np.stack([words[objects].sum(axis=0) for objects in shown])
    captions = [[" ".join(names[objects]), " and ".join(names[objects[:2]])] for objects in shown]
    return Photographs(features + 0.05 * random.normal(size=features.shape), captions)


def test_choose_learns_to_match_images_and_words_it_has_not_seen_together() -> None:
    words = np.random.default_rng(9).normal(size=(12, 20))
    train, validation, test = (photographs(words, seed=seed) for seed in range(3))
    grid = {"ridges": (0.01, 1.0), "dimensions": (4, 12), "powers": (0.0, 1.0), "min_counts": (1,)}
    baseline = choose(train, validation, **grid)
    scores = baseline.similarity(test)
    assert scores.shape == (160, 80)
    assert baseline.validation == recalls(baseline.similarity(validation), validation.image_of_text)
    assert recalls(scores, test.image_of_text)["image_to_text/R@10"] > 90
    assert baseline.settings.dimension == 12
