"""Proxy-NCA: neighbourhood components analysis against one learned proxy a class.

Source: Movshovitz-Attias et al., ICCV 2017, whose denominator leaves the positive out; the form with the
positive in the denominator is that of the later implementations, which paper 002 follows.
"""

from __future__ import annotations

from typing import Any

from keras import ops

from xmkeras.losses.pairs import squared_distances
from xmkeras.losses.similarity import unit
from xmkeras.losses.smoothing import smoothed_targets

Tensor = Any


def proxy_nca(
    x: Tensor,
    labels: Tensor,
    proxies: Tensor,
    *,
    scale: float = 3.0,
    proxy_scale: float | None = None,
    smoothing: float | None = None,
    positive_in_denominator: bool = True,
) -> Tensor:
    """Mean over samples of -sum_c T_c log softmax_c(-D_c), D_c = |scale x - proxy_scale p_c|^2 of unit vectors.

    A zero vector is equally far from all proxies. With a single class the value is 0.

    Args:
        x: (n, d) embeddings of any length.
        labels: (n,) integers in 0..C-1.
        proxies: (C, d) of any length.
        scale: length given to the embeddings: 3 for birds and cars, 1 for products.
        proxy_scale: length given to the proxies; `scale` if None.
        smoothing: share s of the target that is spread as s/(C - 1) over the wrong classes; 0.1 if None, and 0
            in the form without the positive.
        positive_in_denominator: False for the original D_y + log sum_{c != y} exp(-D_c), which can be negative.

    Returns:
        A float32 scalar.

    Raises:
        ValueError: smoothing together with `positive_in_denominator=False`.

    Example:

    >>> from keras import ops
    >>> from xmkeras import losses
    >>> round(float(losses.proxy_nca(ops.eye(2), [0, 1], ops.eye(2), scale=1.0, smoothing=0.0)), 4)
    0.1269
    """
    if smoothing is None:
        smoothing = 0.1 if positive_in_denominator else 0.0
    proxy_scale = scale if proxy_scale is None else proxy_scale
    closeness = -squared_distances(scale * unit(x), proxy_scale * unit(proxies))
    classes = ops.shape(closeness)[1]
    if positive_in_denominator:
        targets = smoothed_targets(labels, classes, smoothing, form="wrong")
        return -ops.mean(ops.sum(targets * ops.log_softmax(closeness, axis=1), axis=1))
    if smoothing:
        raise ValueError("The form without the positive in its denominator has no smoothing: pass smoothing=0.")
    if classes == 1:
        return 0.0 * ops.sum(closeness)
    own = ops.one_hot(labels, classes, dtype="float32")
    others = ops.logsumexp(ops.where(own > 0, -float("inf"), closeness), axis=1)
    return ops.mean(others - ops.sum(own * closeness, axis=1))
