"""Scores of images and sentences made of many vectors each: SCAN, BFAN, and late interaction, exact and without loops.

Sources: Lee et al., "Stacked Cross Attention for Image-Text Matching", ECCV 2018 (SCAN); Liu et al., "Focus Your
Attention: A Bidirectional Focal Attention Network for Image-Text Matching", ACM MM 2019 (BFAN); Khattab and Zaharia,
"ColBERT", SIGIR 2020 (late interaction).

A query q attends to the vectors s of a source with weights w; its cosine with what it has attended to, sum_s w_s s,
needs none of these attended vectors. With the products S = source . query and the Gram matrix G of the source it is

    sum(w S) / (|q| sqrt(sum(w (G w))))

in which the denominator of the softmax cancels, so that w = exp(smoothing A) does. Vectors that a mask leaves out are
made zero, and zeros drop out of every sum over a source by themselves.
"""

from __future__ import annotations

from typing import Any

from keras import ops

from xmkeras.losses.pairs import as_weights, choose
from xmkeras.losses.similarity import SQUARED_NORM_FLOOR, as_float32, unit

Tensor = Any

DIRECTIONS = ("t2i", "i2t")
POOLINGS = ("avg", "lse")
ACTIVATIONS = ("leaky_relu", "relu")
FOCALS = ("none", "equal", "prob")
SLOPE = 0.1
# Of the squared length of a sum of vectors with weights of e^-20 or more: below it is rounding.
_FLOOR = 1e-24
# Equal weights differ by the rounding of what exp multiplies by 20: what is greater by less is not greater.
_STRICT = 1 + 1e-4


def cross_attention(
    regions: Tensor,
    words: Tensor,
    region_mask: Tensor | None = None,
    word_mask: Tensor | None = None,
    *,
    direction: str = "t2i",
    pooling: str = "avg",
    smoothing: float = 9.0,
    sharpness: float = 6.0,
    activation: str = "leaky_relu",
    focal: str = "none",
    pairs: bool = False,
) -> Tensor:
    """Stacked cross attention of every image with every sentence.

    Args:
        regions: (n, r, d).
        words: (m, t, d); with `pairs` m = n.
        region_mask: (n, r) true at regions that are there; all if None.
        word_mask: (m, t).
        direction: "t2i": each word attends to the regions; "i2t": each region attends to the words.
        pooling: of the cosines of a pair's queries: "avg", their mean; "lse", log(sum(exp(sharpness c))) / sharpness,
            which can be greater than 1.
        smoothing: lambda_1, the inverse temperature of the attention.
        sharpness: lambda_2, of "lse".
        activation: of the products before they are normalised over the queries: "leaky_relu" of slope .1 as released,
            "relu" as printed.
        focal: which attended vectors BFAN keeps, see `focal_mask`; "none" keeps all.
        pairs: score sentence i with image i alone.

    Returns:
        float32 (n, m), or (n,) with `pairs`; 0 for an image or sentence without vectors under "avg".

    Raises:
        ValueError: an unknown choice.

    Example:

    >>> from keras import ops
    >>> from xmkeras import losses
    >>> regions = ops.convert_to_tensor([[[1.0, 0.0], [0.0, 1.0]], [[0.0, -1.0], [-1.0, 0.0]]])
    >>> words = ops.convert_to_tensor([[[1.0, 0.0]], [[0.0, -1.0]]])
    >>> [round(float(score), 2) for score in losses.cross_attention(regions, words, pairs=True)]
    [1.0, 1.0]
    """
    choose("pooling", pooling, POOLINGS)
    regions, words = _present(regions, region_mask), _present(words, word_mask)
    (source, source_mask), (query, query_mask) = (regions, region_mask), (words, word_mask)
    if choose("direction", direction, DIRECTIONS) == "i2t":
        (source, source_mask), (query, query_mask) = (query, query_mask), (source, source_mask)
    products = _products(source, query, pairs)
    weights = _weights(products, source_mask, smoothing, activation, focal)
    cosines = _cosines(products, weights, source, query, pairs)
    scores = _pooled(cosines, query_mask, pooling, sharpness, pairs)
    return scores[:, 0] if pairs else scores if direction == "t2i" else ops.transpose(scores)


def bfan(
    regions: Tensor,
    words: Tensor,
    region_mask: Tensor | None = None,
    word_mask: Tensor | None = None,
    *,
    focal: str = "equal",
    smoothing: float = 20.0,
    **options: Any,
) -> Tensor:
    """The focal attention of BFAN both ways: the sum of the means of `cross_attention`, in [-2, 2].

    Args:
        regions, words, region_mask, word_mask: as for `cross_attention`.
        focal: "equal" or "prob", see `focal_mask`.
        smoothing: lambda.
        **options: further ones of `cross_attention`.

    Returns:
        float32 (n, m), or (n,) with `pairs`.
    """
    both = (
        cross_attention(
            regions, words, region_mask, word_mask, direction=direction, smoothing=smoothing, focal=focal, **options
        )
        for direction in DIRECTIONS
    )
    return sum(both)


def late_interaction(
    regions: Tensor,
    words: Tensor,
    region_mask: Tensor | None = None,
    word_mask: Tensor | None = None,
    *,
    direction: str = "t2i",
    pairs: bool = False,
) -> Tensor:
    """The mean over the queries of the cosine with the best vector of the source: (n, m), or (n,) with `pairs`.

    Arguments and errors are those of `cross_attention`.
    """
    regions, words = unit(_present(regions, region_mask)), unit(_present(words, word_mask))
    (source, source_mask), (query, query_mask) = (regions, region_mask), (words, word_mask)
    if choose("direction", direction, DIRECTIONS) == "i2t":
        (source, source_mask), (query, query_mask) = (query, query_mask), (source, source_mask)
    products = _products(source, query, pairs)
    if source_mask is not None:
        products = ops.where(_over_source(source_mask) > 0, products, -1.0)
    scores = _pooled(ops.max(products, axis=1), query_mask, "avg", 1.0, pairs)
    return scores[:, 0] if pairs else scores if direction == "t2i" else ops.transpose(scores)


def pooled_cosine(
    regions: Tensor,
    words: Tensor,
    region_mask: Tensor | None = None,
    word_mask: Tensor | None = None,
    *,
    pairs: bool = False,
) -> Tensor:
    """The cosine of the sums of each side's vectors, (n, m) or (n,): what attention has to be better than."""
    image = unit(ops.sum(_present(regions, region_mask), axis=1))
    text = unit(ops.sum(_present(words, word_mask), axis=1))
    return ops.sum(image * text, axis=1) if pairs else ops.matmul(image, ops.transpose(text))


def attention_weights(
    regions: Tensor,
    words: Tensor,
    region_mask: Tensor | None = None,
    word_mask: Tensor | None = None,
    *,
    direction: str = "t2i",
    smoothing: float = 9.0,
    activation: str = "leaky_relu",
    focal: str = "none",
) -> Tensor:
    """What each query of sentence i and image i attends to, as `cross_attention` has it: what it looks at, to be shown.

    Arguments and errors are those of `cross_attention`.

    Returns:
        float32 (n, t, r) for "t2i", each word's shares of the regions; (n, r, t) for "i2t". They sum to 1, and are 0 at
        a source that is not there; those of a query that is not there mean nothing.
    """
    source, query, source_mask = _present(regions, region_mask), _present(words, word_mask), region_mask
    if choose("direction", direction, DIRECTIONS) == "i2t":
        source, query, source_mask = query, source, word_mask
    weights = _weights(_products(source, query, True), source_mask, smoothing, activation, focal)
    weights = weights if source_mask is None else weights * _over_source(source_mask)
    shares = weights / ops.maximum(ops.sum(weights, axis=1, keepdims=True), _FLOOR)
    return ops.transpose(shares[:, :, 0], (0, 2, 1))


def focal_mask(weights: Tensor, focal: str, counts: Tensor, axis: int = -1) -> Tensor:
    """Which vectors of a source BFAN keeps, by their attention w > 0, known up to a factor: bool, shaped as `weights`.

    Equal: n w_i > sum_j w_j. Prob: w_i sum_j sqrt(w_j) > sum_j w_j sqrt(w_j). Where no inequality is strict, as for
    equal weights, all are kept; the release divides by 0 there.

    Args:
        weights: 0 for what is not there.
        focal: "equal" or "prob".
        counts: how many are there, broadcast to `weights`.
        axis: of the source.
    """
    if choose("focal", focal, FOCALS[1:]) == "equal":
        kept = counts * weights > _STRICT * ops.sum(weights, axis=axis, keepdims=True)
    else:
        roots = ops.sqrt(weights)
        mean = ops.sum(weights * roots, axis=axis, keepdims=True)
        kept = weights * ops.sum(roots, axis=axis, keepdims=True) > _STRICT * mean
    return ops.logical_or(kept, ops.logical_not(ops.any(kept, axis=axis, keepdims=True)))


def _present(vectors: Tensor, mask: Tensor | None) -> Tensor:
    """Float32 vectors (n, t, d), zero where the mask (n, t) says that nothing is there."""
    vectors = as_float32(vectors)
    return vectors if mask is None else ops.where(ops.expand_dims(ops.cast(mask, "bool"), -1), vectors, 0.0)


def _over_source(mask: Tensor) -> Tensor:
    """A mask (a, s) of sources as weights (a, s, 1, 1), beside products (a, s, b, q)."""
    return as_weights(ops.convert_to_tensor(mask))[:, :, None, None]


def _products(source: Tensor, query: Tensor, pairs: bool) -> Tensor:
    """Inner products of source (a, s, d) with query (b, q, d): (a, s, b, q), or (a, s, 1, q) of pairs."""
    if pairs:
        return ops.expand_dims(ops.matmul(source, ops.transpose(query, (0, 2, 1))), 2)
    (a, s, d), (b, q, _) = ops.shape(source), ops.shape(query)
    flat = ops.matmul(ops.reshape(source, (-1, d)), ops.transpose(ops.reshape(query, (-1, d))))
    return ops.reshape(flat, (a, s, b, q))


def _weights(products: Tensor, source_mask: Tensor | None, smoothing: float, activation: str, focal: str) -> Tensor:
    """The numerators of the attention of products (a, s, b, q) over s: exp(smoothing A), of what is kept."""
    choose("activation", activation, ACTIVATIONS)
    slope = SLOPE if activation == "leaky_relu" else 0.0
    # Normalised over the queries, so |A| <= 1: no maximum has to be subtracted before exp.
    scaled = unit(ops.maximum(products, slope * products))
    weights = ops.exp(smoothing * scaled)
    if choose("focal", focal, FOCALS) == "none":
        return weights
    there = ops.ones_like(weights[:, :, :1, :1]) if source_mask is None else _over_source(source_mask)
    constant = ops.stop_gradient(weights * there)
    return weights * as_weights(focal_mask(constant, focal, ops.sum(there, axis=1, keepdims=True), axis=1))


def _cosines(products: Tensor, weights: Tensor, source: Tensor, query: Tensor, pairs: bool) -> Tensor:
    """The cosine of each query with what it attends to, (a, b, q)."""
    a, s, b, q = ops.shape(weights)
    gram = ops.matmul(source, ops.transpose(source, (0, 2, 1)))
    mixed = ops.reshape(ops.matmul(gram, ops.reshape(weights, (a, s, -1))), (a, s, b, q))
    of_sums = ops.rsqrt(ops.maximum(ops.sum(weights * mixed, axis=1), _FLOOR))
    of_queries = ops.rsqrt(ops.maximum(ops.sum(ops.square(query), axis=-1), SQUARED_NORM_FLOOR))
    return ops.sum(weights * products, axis=1) * of_sums * _over_query(of_queries, pairs)


def _over_query(values: Tensor, pairs: bool) -> Tensor:
    """Values (b, q) of queries, to stand beside those of (a, b, q), or of (b, 1, q) where b are in pairs."""
    return ops.expand_dims(values, 1) if pairs else values


def _pooled(values: Tensor, mask: Tensor | None, pooling: str, sharpness: float, pairs: bool) -> Tensor:
    """Values (a, b, q) pooled over the queries that are there: (a, b)."""
    there = ops.ones_like(values[0]) if mask is None else as_weights(ops.convert_to_tensor(mask))
    there = _over_query(there, pairs and mask is not None)
    if pooling == "lse":
        total = ops.sum(there * ops.exp(sharpness * values), axis=-1)
        return ops.log(ops.maximum(total, _FLOOR)) / sharpness
    return ops.sum(there * values, axis=-1) / ops.maximum(ops.sum(there, axis=-1), 1.0)
