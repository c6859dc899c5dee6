"""ADDR: adversarial discriminative domain regularization, on any method that gives words and regions; in training only.

Reconstructed from the poster of paper 000: the sign of its equation 2, equations 4 to 7, where the classifier of a pair
comes from, and all weights are not on it or cannot be meant as printed; `xmkeras.losses.domain_errors` says how they
are read here.
"""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import keras

from xmkeras.layers.domain_classifiers import DomainNet, DomainTable
from xmkeras.losses.domain_errors import (
    REDUCTIONS,
    domain_adversary,
    domain_error_matrix,
    domain_regulariser_terms,
    fit_domain_classifiers,
)
from xmkeras.method import Losses, Tensor
from xmkeras.options import Options, option

CLASSIFIERS = ("inner", "unrolled", "table", "hyper")
_FITTED = ("inner", "unrolled")
HEAD = "domains"


@dataclasses.dataclass(frozen=True)
class DomainParams(Options):
    """The options of ADDR, flags `--<method>.addr_<field>`, on beside any others of a method.

    Raises:
        UserError: a value outside its range or choices.
    """

    addr: bool = option(False, "Train with ADDR: words and regions of a pair must not be told apart (from a poster).")
    addr_classifier: str = option(
        "inner",
        "Where a pair's classifier of words against regions comes from: some steps of descent inside of the training "
        "step, through which gradients do not flow, or do (unrolled); a table of one a label; a net (open).",
        CLASSIFIERS,
    )
    addr_steps: int = option(5, "Steps of that descent; many separate any pair (open).", least=1, most=1000)
    addr_rate: float = option(1.0, "Its learning rate (open).", above=0)
    addr_decay: float = option(0.0, "Weight decay of these classifiers (open).", least=0)
    addr_alpha: float = option(0.2, "Margin by which a pair's own classifier has to err less (open).", least=0)
    addr_beta: float = option(0.1, "Weight of the adversary: own classifiers shall err (open).", least=0)
    addr_gamma: float = option(0.1, "Weight of the regulariser (open).", least=0)
    addr_as_printed: bool = option(False, "Equation 9 as printed, with q for r in its first term.")
    addr_reduction: str = option("mean", "Errors over a pair's words and regions (open).", REDUCTIONS)


class Elements(NamedTuple):
    """Words (n, t, d) and regions (n, r, d) of the pairs of a batch, and which are there; None for all."""

    words: Tensor
    regions: Tensor
    word_mask: Tensor | None
    region_mask: Tensor | None


def domain_head(params: DomainParams, num_labels: int, dim: int) -> keras.layers.Layer | None:
    """The built layer that gives classifiers of words and regions (.., dim); None where they are fitted in the step."""
    if not params.addr or params.addr_classifier in _FITTED:
        return None
    if params.addr_classifier == "table":
        return DomainTable(num_labels, dim, name=HEAD)
    net = DomainNet(dim, name=HEAD)
    net.build((None, 2 * dim))
    return net


def domain_terms(
    params: DomainParams,
    elements: Elements,
    labels: Tensor,
    hardest: tuple[Tensor, Tensor],
    head: keras.layers.Layer | None,
    *,
    judging: bool = False,
) -> Losses:
    """What ADDR adds to the losses of a batch, means over its pairs times their weights.

    Args:
        params: of ADDR.
        elements: words and regions.
        labels: (n,), by which a table finds a pair's classifier.
        hardest: for each pair the one that owns the hardest negative text, and the one with the hardest image.
        head: of `domain_head`.
        judging: of the classifiers, which err as little as they can on words and regions that they do not change; else
            of the encoders, on classifiers that are given.
    """
    stop = keras.ops.stop_gradient
    if judging:
        elements = elements._replace(words=stop(elements.words), regions=stop(elements.regions))
    classifiers = _classifiers(params, elements, labels, head)
    if not judging and params.addr_classifier != "unrolled":
        classifiers = tuple(map(stop, classifiers))
    masks: dict[str, Any] = {"word_mask": elements.word_mask, "region_mask": elements.region_mask}
    errors = domain_error_matrix(
        elements.words, elements.regions, *classifiers, **masks, reduction=params.addr_reduction
    )
    own, other = domain_regulariser_terms(
        errors, *hardest, margin=params.addr_alpha, as_printed=params.addr_as_printed
    )
    regulariser = params.addr_gamma * keras.ops.mean(own + other)
    if judging:
        return {"domain_error": domain_adversary(errors), "domain_judge": regulariser}
    return {"domain_adversary": -params.addr_beta * domain_adversary(errors), "domain_margin": regulariser}


def _classifiers(
    params: DomainParams, elements: Elements, labels: Tensor, head: keras.layers.Layer | None
) -> tuple[Tensor, Tensor]:
    if head is None:
        return fit_domain_classifiers(
            elements.words,
            elements.regions,
            word_mask=elements.word_mask,
            region_mask=elements.region_mask,
            steps=params.addr_steps,
            learning_rate=params.addr_rate,
            weight_decay=params.addr_decay,
            unrolled=params.addr_classifier == "unrolled",
        )
    if params.addr_classifier == "table":
        weights, bias = head(labels)
        return weights, bias
    means = [_mean(elements.words, elements.word_mask), _mean(elements.regions, elements.region_mask)]
    weights, bias = head(keras.ops.stop_gradient(keras.ops.concatenate(means, axis=-1)))
    return weights, bias


def _mean(vectors: Tensor, mask: Tensor | None) -> Tensor:
    ops = keras.ops
    if mask is None:
        return ops.mean(vectors, axis=1)
    there = ops.cast(mask, vectors.dtype)[..., None]
    return ops.sum(ops.where(there > 0, vectors, 0.0), axis=1) / ops.maximum(ops.sum(there, axis=1), 1.0)
