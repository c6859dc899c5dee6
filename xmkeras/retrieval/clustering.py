"""How well clusters agree with classes: k-means and the normalised mutual information."""

from typing import Literal

import numpy as np


def k_means(vectors: np.ndarray, clusters: int, *, seed: int = 0, n_init: int = 10) -> np.ndarray:
    """(n,) the cluster of each of the vectors (n, d), by scikit-learn's k-means, the best of `n_init` starts.

    Raises ValueError when there are fewer vectors than clusters, or one that is not finite.
    """
    from sklearn.cluster import KMeans

    return KMeans(clusters, n_init=n_init, random_state=seed).fit_predict(np.asarray(vectors, np.float32))


def normalised_mutual_information(
    labels: np.ndarray, clusters: np.ndarray, *, average: Literal["arithmetic", "geometric"] = "arithmetic"
) -> float:
    """NMI = I(Y; C) / mean of H(Y) and H(C), in [0, 1]; labels (n,), clusters (n,), n > 0.

    average: of the two entropies, "arithmetic" (2 I / (H(Y) + H(C)), Manning et al. 2008, section 16.3), or
    "geometric" as releases on Chainer and early scikit-learn have it. One class in one cluster agree: 1; one class
    in several clusters, or the other way round, tell nothing: 0. Raises ValueError where lengths differ or n is 0.
    """
    if average not in ("arithmetic", "geometric"):
        raise ValueError(f"average is {average!r}, neither 'arithmetic' nor 'geometric'")
    if len(labels) != len(clusters) or not len(labels):
        raise ValueError(f"{len(labels)} labels and {len(clusters)} clusters: there must be as many, and at least one")
    ys, cs = (np.unique(side, return_inverse=True)[1] for side in (labels, clusters))
    pairs, together = np.unique(np.stack([ys, cs]), axis=1, return_counts=True)
    sizes = [np.bincount(side).astype(np.float64) for side in (ys, cs)]
    entropies = [-np.sum(size / len(ys) * np.log(size / len(ys))) for size in sizes]
    if not any(entropies):
        return 1.0
    shared = together / len(ys)
    expected = sizes[0][pairs[0]] * sizes[1][pairs[1]] / len(ys)
    information = float(np.sum(shared * np.log(together / expected)))
    mean = np.mean(entropies) if average == "arithmetic" else np.sqrt(np.prod(entropies))
    return float(np.clip(information / mean, 0.0, 1.0)) if mean else 0.0
