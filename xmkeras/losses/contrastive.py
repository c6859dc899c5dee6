"""Contrastive loss of pairs in its first, exponential form.

Source: Chopra, Hadsell and LeCun, CVPR 2005; equation 4 of paper 002.
"""

from __future__ import annotations

from typing import Any

from keras import ops

from xmkeras.losses.pairs import all_pairs, root, squared_distances

Tensor = Any


def contrastive(
    queries: Tensor,
    labels: Tensor,
    references: Tensor | None = None,
    reference_labels: Tensor | None = None,
    *,
    bound: float = 2.0,
    normalize: bool = True,
) -> Tensor:
    """Mean over pairs of 2/Q E^2 where labels are equal and of 2Q exp(-2.77/Q E) where they differ.

    E is the Euclidean distance, Q its upper bound. No pair at all (a batch of one) has the value 0; pairs at
    the distance 0 have the gradient 0.

    Args:
        queries: (n, d) embeddings.
        labels: (n,) integers.
        references: (m, d), the texts of images or a memory bank; None for the pairs among the queries.
        reference_labels: (m,) integers; `labels` if None.
        bound: Q > 0; 2 is the bound for unit vectors.
        normalize: divide every vector by its length.

    Returns:
        A float32 scalar, at least 0.

    Raises:
        ValueError: a bound that is not positive, or a side has not as many labels as rows.

    Example:

    >>> from keras import ops
    >>> from xmkeras import losses
    >>> round(float(losses.contrastive(ops.eye(2), [0, 0])), 4)
    2.0
    """
    if bound <= 0:
        raise ValueError(f"bound must be positive, not {bound}.")
    pairs = all_pairs(queries, labels, references, reference_labels, normalize)
    squared = squared_distances(pairs.queries, pairs.references)
    pulled = ops.where(pairs.positive, 2.0 / bound * squared, 0.0)
    pushed = ops.where(pairs.negative, 2.0 * bound * ops.exp(-2.77 / bound * root(squared)), 0.0)
    count = ops.sum(ops.cast(ops.logical_or(pairs.positive, pairs.negative), "float32"))
    return ops.sum(pulled + pushed) / ops.maximum(count, 1.0)
