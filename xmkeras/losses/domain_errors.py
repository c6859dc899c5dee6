"""ADDR: a modality classifier for every pair of the batch, its errors on every pair, and their regulariser.

Source: the poster of paper 000, equations 2 to 9. Its equation 2 prints the log-likelihood with the wrong sign
for a minimum; here errors are the binary cross-entropy, words being 1 and regions 0.
"""

from __future__ import annotations

from typing import Any

from keras import ops

from xmkeras.losses.pairs import as_weights, choose
from xmkeras.losses.similarity import as_float32

Tensor = Any

REDUCTIONS = ("mean", "sum")


def _elements(
    words: Tensor, regions: Tensor, word_mask: Tensor | None, region_mask: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """Words and regions in one row of elements (n, t, d), their signs (t,) +1 and -1, and weights (n, t)."""
    sides = [as_float32(words), as_float32(regions)]
    weights = [
        ops.ones(ops.shape(side)[:2], "float32") if mask is None else as_weights(ops.convert_to_tensor(mask))
        for side, mask in zip(sides, (word_mask, region_mask), strict=True)
    ]
    # A padded element may hold anything: it is zeroed, so that not even its gradient counts.
    sides = [ops.where(ops.expand_dims(w > 0, -1), side, 0.0) for side, w in zip(sides, weights, strict=True)]
    signs = [sign * ops.ones(ops.shape(side)[1:2], "float32") for sign, side in zip((1.0, -1.0), sides, strict=True)]
    return ops.concatenate(sides, axis=1), ops.concatenate(signs, axis=0), ops.concatenate(weights, axis=1)


def fit_domain_classifiers(
    words: Tensor,
    regions: Tensor,
    *,
    word_mask: Tensor | None = None,
    region_mask: Tensor | None = None,
    steps: int = 5,
    learning_rate: float = 1.0,
    weight_decay: float = 0.0,
    unrolled: bool = False,
) -> tuple[Tensor, Tensor]:
    """Logistic classifiers of words against regions, one for each pair, by gradient descent from zero.

    Args:
        words: (n, t_w, d).
        regions: (n, t_r, d).
        word_mask: (n, t_w) true at valid words; all if None.
        region_mask: (n, t_r); all if None.
        steps: full-batch steps on the mean error of the pair; more separate the data, and the errors vanish.
        learning_rate: of these steps.
        weight_decay: added to the gradient of the weights as `weight_decay` times the weights.
        unrolled: let gradients flow through the fit; otherwise the classifiers are constants.

    Returns:
        Weights (n, d) and biases (n,), float32; zero for a pair without elements.
    """
    elements, signs, mask = _elements(words, regions, word_mask, region_mask)
    elements = elements if unrolled else ops.stop_gradient(elements)
    share = mask / ops.maximum(ops.sum(mask, axis=1, keepdims=True), 1.0)
    weights = ops.zeros_like(elements[:, 0])
    bias = ops.zeros_like(weights[:, :1])
    for _ in range(steps):
        logits = ops.squeeze(ops.matmul(elements, ops.expand_dims(weights, 2)), 2) + bias
        slope = share * (ops.sigmoid(logits) - 0.5 * (signs + 1.0))
        gradient = ops.squeeze(ops.matmul(ops.expand_dims(slope, 1), elements), 1) + weight_decay * weights
        weights = weights - learning_rate * gradient
        bias = bias - learning_rate * ops.sum(slope, axis=1, keepdims=True)
    return weights, bias[:, 0]


def domain_error_matrix(
    words: Tensor,
    regions: Tensor,
    weights: Tensor,
    bias: Tensor,
    *,
    word_mask: Tensor | None = None,
    region_mask: Tensor | None = None,
    reduction: str = "mean",
) -> Tensor:
    """L_a(f_b): the error on pair a's words and regions of the classifier of pair b, in one matrix product.

    Args:
        words: (n, t_w, d).
        regions: (n, t_r, d).
        weights: (m, d) of the classifiers.
        bias: (m,).
        word_mask: (n, t_w) true at valid words; all if None.
        region_mask: (n, t_r); all if None.
        reduction: "mean" or "sum" over the elements of a pair.

    Returns:
        (n, m) float32, at least 0; log 2 for a classifier of zeros, 0 for a pair without elements.

    Raises:
        ValueError: an unknown reduction.
    """
    choose("reduction", reduction, REDUCTIONS)
    elements, signs, mask = _elements(words, regions, word_mask, region_mask)
    logits = ops.matmul(elements, ops.transpose(as_float32(weights))) + as_float32(bias)
    errors = ops.expand_dims(mask, 2) * ops.softplus(-ops.reshape(signs, (1, -1, 1)) * logits)
    total = ops.sum(errors, axis=1)
    return total / ops.maximum(ops.sum(mask, axis=1, keepdims=True), 1.0) if reduction == "mean" else total


def domain_adversary(errors: Tensor) -> Tensor:
    """L_adv: mean of L_p(f_p), the diagonal of the error matrix (n, n). Encoders maximise it; float32 scalar."""
    return ops.mean(ops.diagonal(as_float32(errors)))


def domain_regulariser_terms(
    errors: Tensor,
    text_negatives: Tensor,
    image_negatives: Tensor,
    *,
    margin: float = 0.2,
    as_printed: bool = False,
) -> tuple[Tensor, Tensor]:
    """R1(p, q) and R2(p, r) of every pair p: own classifiers must err less than exchanged ones, by a margin.

    R1 = [margin + L_p(f_p) - L_p(f_q)]+ + [margin + L_q(f_q) - L_q(f_p)]+, and R2 the same for r, with its
    terms in the poster's order [margin + L_r(f_r) - L_r(f_p)]+ + [margin + L_p(f_p) - L_p(f_r)]+. A pair
    that is its own negative, as in a batch of one, has no such term: 0.

    Args:
        errors: (n, n), row the data, column the classifier (`domain_error_matrix`).
        text_negatives: (n,) integers q, the pair that owns the hardest negative text of image p.
        image_negatives: (n,) integers r, the pair that owns the hardest negative image of text p.
        margin: alpha.
        as_printed: q instead of r in the first term of R2, as equation 9 prints.

    Returns:
        Two float32 tensors (n,), at least 0.
    """
    errors = as_float32(errors)
    own = ops.diagonal(errors)
    p = ops.arange(ops.shape(own)[0], dtype="int32")
    q, r = (ops.cast(negatives, "int32") for negatives in (text_negatives, image_negatives))

    def exceeds(data: Tensor, other: Tensor) -> Tensor:
        exchanged = ops.take(ops.reshape(errors, (-1,)), data * ops.shape(own)[0] + other)
        return ops.relu(margin + ops.take(own, data) - exchanged)

    first = ops.where(ops.equal(p, q), 0.0, exceeds(p, q) + exceeds(q, p))
    second = ops.where(ops.equal(p, r), 0.0, exceeds(q if as_printed else r, r if as_printed else p) + exceeds(p, r))
    return first, second


def domain_regulariser(errors: Tensor, text_negatives: Tensor, image_negatives: Tensor, **options: Any) -> Tensor:
    """Mean over pairs of R1 + R2 of `domain_regulariser_terms`, whose arguments it takes; float32 scalar.

    Example:

    >>> from keras import ops
    >>> from xmkeras import losses
    >>> words, regions = ops.ones((3, 2, 4)), -ops.ones((3, 5, 4))
    >>> weights, bias = losses.fit_domain_classifiers(words, regions)
    >>> errors = losses.domain_error_matrix(words, regions, weights, bias)
    >>> round(float(losses.domain_regulariser(errors, [1, 2, 0], [2, 0, 1])), 4)
    0.8
    """
    first, second = domain_regulariser_terms(errors, text_negatives, image_negatives, **options)
    return ops.mean(first + second)
