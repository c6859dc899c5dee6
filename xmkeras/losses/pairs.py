"""Which pairs of a batch are positive and which negative, distances, and means over a part of the pairs."""

from __future__ import annotations

from typing import Any, NamedTuple

from keras import ops

from xmkeras.losses.similarity import as_float32, unit

Tensor = Any

# Below this squared distance two vectors count as the same: the distance is 0 and so is its gradient.
SQUARED_DISTANCE_FLOOR = 1e-12
# Share of |a|^2 + |b|^2 that is lost when they are subtracted from each other: the distance of equal vectors.
ROUNDING = 1e-6


class Pairs(NamedTuple):
    """Both sides of a loss, (n, d) and (m, d) in float32, and their relation, two (n, m) boolean masks."""

    queries: Tensor
    references: Tensor
    positive: Tensor
    negative: Tensor


def equal_labels(labels: Tensor, reference_labels: Tensor) -> Tensor:
    """True where a label of (n,) equals a reference label of (m,), shape (n, m).

    Keras hands labels to a loss as floats; whole numbers of any type are compared with those of any other.

    Raises:
        ValueError: labels of another shape.
    """
    labels, reference_labels = ops.convert_to_tensor(labels), ops.convert_to_tensor(reference_labels)
    for given in (labels, reference_labels):
        if len(given.shape) != 1:
            raise ValueError(f"labels must have the shape (n,), not {tuple(given.shape)}.")
    if labels.dtype != reference_labels.dtype:
        labels, reference_labels = ops.cast(labels, "int64"), ops.cast(reference_labels, "int64")
    return ops.equal(ops.expand_dims(labels, 1), ops.expand_dims(reference_labels, 0))


def diagonal_mask(n: int | Tensor, m: int | Tensor) -> Tensor:
    """True at (i, i), shape (n, m)."""
    return equal_labels(ops.arange(n), ops.arange(m))


def all_pairs(
    queries: Tensor,
    labels: Tensor,
    references: Tensor | None,
    reference_labels: Tensor | None,
    normalize: bool = False,
) -> Pairs:
    """Every query with every reference; without references every two different rows of the queries.

    Args:
        queries: (n, d).
        labels: (n,) integers.
        references: (m, d), or None for the queries themselves, of which no row is then paired with itself.
        reference_labels: (m,) integers, or None where they are `labels`.
        normalize: divide every row by its length.

    Raises:
        ValueError: a side has not as many labels as rows.
    """
    alone = references is None
    prepare = unit if normalize else as_float32
    queries = prepare(queries)
    references = queries if references is None else prepare(references)
    reference_labels = labels if reference_labels is None else reference_labels
    match = equal_labels(labels, reference_labels)
    shape = (queries.shape[0], references.shape[0])
    for name, rows, count in zip(("labels", "reference_labels"), shape, match.shape, strict=True):
        if rows is not None and count is not None and rows != count:
            raise ValueError(f"{name} must have one entry a row: {count} entries for {rows} rows.")
    positive = match
    if alone:
        positive = ops.logical_and(match, ops.logical_not(diagonal_mask(*ops.shape(match))))
    return Pairs(queries, references, positive, ops.logical_not(match))


def one_pair_a_class(labels: Tensor) -> tuple[Tensor, Tensor]:
    """Where the first two rows of each class stand that has two or more: two (p,), p known only when run.

    In batches of random order they are a random pair.
    """
    same = equal_labels(labels, labels)
    rows = ops.arange(ops.shape(same)[0])
    behind = ops.expand_dims(rows, 1) < ops.expand_dims(rows, 0)
    later = ops.logical_and(same, behind)
    earlier = ops.any(ops.logical_and(same, ops.transpose(behind)), axis=1)
    (first,) = ops.nonzero(ops.logical_and(ops.any(later, axis=1), ops.logical_not(earlier)))
    return first, ops.take(ops.argmax(ops.cast(later, "int32"), axis=1), first, axis=0)


def as_weights(mask: Tensor) -> Tensor:
    """A boolean mask as float32 ones and zeros."""
    return ops.cast(mask, "float32")


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean of `values` where `mask` is true; 0 where it is true nowhere."""
    return ops.sum(ops.where(mask, values, 0.0)) / ops.maximum(ops.sum(as_weights(mask)), 1.0)


def log_one_plus_sum(exponents: Tensor, mask: Tensor, *, axis: int) -> Tensor:
    """log(1 + sum exp(exponents)) of a matrix along `axis`, over the entries where `mask` is true; 0 without any."""
    masked = ops.where(mask, exponents, -float("inf"))
    one = ops.zeros_like(ops.sum(exponents, axis=axis, keepdims=True))
    return ops.logsumexp(ops.concatenate([one, masked], axis=axis), axis=axis)


def squared_distances(queries: Tensor, references: Tensor) -> Tensor:
    """Squared Euclidean distances of float32 rows, (n, d) x (m, d) -> (n, m); 0 where they are mere rounding."""
    of_queries = ops.sum(ops.square(queries), axis=1, keepdims=True)
    of_references = ops.expand_dims(ops.sum(ops.square(references), axis=1), 0)
    lengths = of_queries + of_references
    squared = lengths - 2.0 * ops.matmul(queries, ops.transpose(references))
    return ops.where(squared > ROUNDING * lengths, squared, 0.0)


def root(squared: Tensor) -> Tensor:
    """Square root with the gradient 0 at 0, where the true one is infinite."""
    apart = squared > SQUARED_DISTANCE_FLOOR
    return ops.where(apart, ops.sqrt(ops.where(apart, squared, 1.0)), 0.0)


def choose(name: str, value: str, choices: tuple[str, ...]) -> str:
    """`value`, if it is one of `choices`.

    Raises:
        ValueError: it is none of them.
    """
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(choices)}, not {value!r}.")
    return value
