"""Losses against learned vectors of classes: Proxy-Anchor and SoftTriple; `proxy_nca` has a file of its own.

Sources: Kim et al., "Proxy Anchor Loss for Deep Metric Learning", CVPR 2020; Qian et al., "SoftTriple Loss: Deep Metric
Learning Without Triplet Sampling", ICCV 2019. The defaults are those of the papers' releases.
"""

from __future__ import annotations

from typing import Any

from keras import ops

from xmkeras.losses.pairs import as_weights, log_one_plus_sum
from xmkeras.losses.similarity import as_float32, unit
from xmkeras.losses.smoothing import smoothed_softmax

Tensor = Any

# Added under the square root of a distance of centers, as in SoftTriple's release.
_DISTANCE_EPSILON = 1e-5


def proxy_anchor(x: Tensor, labels: Tensor, proxies: Tensor, *, margin: float = 0.1, scale: float = 32.0) -> Tensor:
    """Each proxy draws its class and repels the others, the hardest most (equation 4).

    Mean over the proxies of classes in the batch of log(1 + sum_{x of c} exp(-scale (cos(x, p_c) - margin))), plus the
    mean over all proxies of log(1 + sum_{x not of c} exp(scale (cos(x, p_c) + margin))). The cosine of a zero vector
    is 0.

    Args:
        x: (n, d) embeddings of any length.
        labels: (n,) integers in 0..C-1.
        proxies: (C, d) of any length.
        margin: of cosines.
        scale: alpha, the sharpness.

    Returns:
        A float32 scalar, at least 0.

    Example:

    >>> from keras import ops
    >>> from xmkeras import losses
    >>> round(float(losses.proxy_anchor(ops.eye(2), [0, 1], ops.eye(2))), 3)
    3.24
    """
    cosines = ops.matmul(unit(x), ops.transpose(unit(proxies)))
    classes = ops.shape(cosines)[1]
    own = ops.one_hot(labels, classes, dtype="float32") > 0
    drawn = log_one_plus_sum(scale * (margin - cosines), own, axis=0)
    repelled = log_one_plus_sum(scale * (cosines + margin), ops.logical_not(own), axis=0)
    there = ops.sum(as_weights(ops.any(own, axis=0)))
    return ops.sum(drawn) / ops.maximum(there, 1.0) + ops.mean(repelled)


def soft_triple(
    x: Tensor,
    labels: Tensor,
    centers: Tensor,
    *,
    scale: float = 20.0,
    gamma: float = 0.1,
    margin: float = 0.01,
    tau: float = 0.2,
) -> Tensor:
    """Softmax over classes of several centers each, of which a sample is close to the closest ones.

    With s_ick the cosine of sample i and center k of class c, S_ic = sum_k softmax_k(s_ic/gamma) s_ick (equation 6);
    the mean cross-entropy of scale (S_ic - margin [c = y_i]) (equation 7), plus tau times the mean distance of two
    centers of a class, halved (equation 8), which lets needless centers fall together.

    Args:
        x: (n, d) embeddings of any length.
        labels: (n,) integers in 0..C-1.
        centers: (C, K, d) of any length.
        scale: lambda, the sharpness.
        gamma: temperature among the centers of a class.
        margin: delta, of cosines.
        tau: weight of the distances of centers; PyTorch Metric Learning has none.

    Returns:
        A float32 scalar, at least 0.

    Example:

    >>> from keras import ops
    >>> from xmkeras import losses
    >>> centers = ops.reshape(ops.eye(4), (2, 2, 4))
    >>> round(float(losses.soft_triple(ops.eye(4), [0, 0, 1, 1], centers)), 3)
    0.141
    """
    centers = unit(centers)
    cosines = ops.einsum("nd,ckd->nck", unit(x), centers)
    scores = cosines / gamma
    shares = ops.exp(scores - ops.logsumexp(scores, axis=2, keepdims=True))  # Keras' softmax warns of a single center
    closeness = ops.sum(shares * cosines, axis=2)
    own = ops.one_hot(labels, ops.shape(centers)[0], dtype="float32")
    return smoothed_softmax(scale * (closeness - margin * own), labels, 0.0) + tau * _apart(centers)


def _apart(centers: Tensor) -> Tensor:
    """Half the mean distance of two unit centers of one class, (C, K, d) -> (); 0 where a class has one."""
    classes, each = ops.shape(centers)[:2]
    products = ops.matmul(centers, ops.transpose(centers, (0, 2, 1)))
    distances = ops.sqrt(ops.maximum(2.0 - 2.0 * products, 0.0) + _DISTANCE_EPSILON)
    pairs = ops.triu(ops.ones_like(distances), 1)
    number = ops.cast(ops.maximum(classes * each * (each - 1), 1), "float32")
    return ops.sum(as_float32(pairs * distances)) / number
