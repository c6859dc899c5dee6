"""One row a public loss: how it is called on a batch of pairs, and what it gives where there is nothing to learn.

A batch is two sides of embeddings (n, 8) and labels in 0..7. A row that is added here is held to every promise
of test_conformance.py.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from keras import ops

from xmkeras import losses

CLASSES = 8
LOG_2 = float(np.log(2.0))
LOG_CLASSES = float(np.log(CLASSES))


class Case(NamedTuple):
    """`loss(image, text, labels)`; the value of one pair alone, of a single class, and of zero vectors.

    None where the value depends on the embeddings. A batch of one and of one class has the embeddings of
    `random_batch`; zero vectors come in a batch of four with labels 0, 0, 1, 1.
    """

    loss: Callable[..., Any]
    alone: float | None = None
    one_class: float | None = None
    zeros: float | None = None


def _products(image: Any, text: Any) -> Any:
    return ops.matmul(ops.cast(image, "float32"), ops.transpose(ops.cast(text, "float32")))


def _domain_errors(image: Any, text: Any) -> Any:
    words, regions = ops.stack([text, image, text], axis=1), ops.stack([image, text + image], axis=1)
    return losses.domain_error_matrix(words, regions, *losses.fit_domain_classifiers(words, regions))


_CENTERS = np.random.default_rng(4).normal(0, 1, (CLASSES, 3, CLASSES)).astype("f4")
# Multi-similarity of one positive and two negatives of cosine 0; what a second positive adds to its logarithm.
_ZERO_COSINES = float(np.log1p(np.e) / 2 + np.log1p(2 * np.exp(-25.0)) / 50)
_SECOND = float(np.log1p(2 * np.e) - np.log1p(np.e))


def _many(x: Any, z: Any) -> tuple[Any, Any]:
    """A pair's two embeddings as three regions and two words."""
    return ops.stack([x, z, x + z], axis=1), ops.stack([z, x], axis=1)


def _two_passes(x: Any, z: Any) -> Any:
    scores = _products(x, z)
    flat, n = ops.reshape(scores, (-1,)), x.shape[0]
    return losses.hinge_of_hardest(lambda i, j: ops.take(flat, n * i + j), *losses.hardest_negatives(scores))


def _rows(x: Any) -> Any:
    """Eight vectors of the rows of x, which repeat."""
    return ops.take(ops.cast(x, "float32"), np.arange(CLASSES) % x.shape[0], axis=0)


def _next(labels: Any, step: int) -> Any:
    n = len(np.asarray(labels))
    return (np.arange(n) + step) % n


def _captions(image: Any, text: Any, labels: Any, **options: Any) -> Any:
    targets = np.stack([np.asarray(labels)] * 2, axis=1)
    return losses.caption_nll(ops.stack([image, text], axis=1), targets, **options)


def _targets(labels: Any, **options: Any) -> dict[str, Any]:
    visual, textual = losses.random_modality_targets(len(np.asarray(labels)), seed=1, **options)
    return {"image_targets": visual, "text_targets": textual}


CASES = {
    "cmpm": Case(lambda x, z, y: losses.cmpm(x, z, y), 0, None, None),
    "cmpm qp": Case(lambda x, z, y: losses.cmpm(x, z, y, divergence="qp"), 0, None, None),
    "cmpm_terms": Case(lambda x, z, y: losses.cmpm_terms(x, z, y)[0], 0, None, None),
    "cmpc": Case(lambda x, z, y: losses.cmpc(x, z, y, np.eye(8, 8)), zeros=2 * LOG_CLASSES),
    "cmpc_terms": Case(lambda x, z, y: losses.cmpc_terms(x, z, y, np.eye(8, 8))[1], zeros=LOG_CLASSES),
    "softmax_loss": Case(lambda x, z, y: losses.softmax_loss(x, y, np.eye(8, 8)), zeros=LOG_CLASSES),
    "norm_softmax": Case(lambda x, z, y: losses.norm_softmax(x, y, np.eye(8, 8)), zeros=LOG_CLASSES),
    "projection_softmax": Case(lambda x, z, y: losses.projection_softmax(x, z, y, np.eye(8, 8)), zeros=2 * LOG_CLASSES),
    "bi_rank": Case(lambda x, z, y: losses.bi_rank(x, z), 0, None, 4 * 2 * 3 * 0.2),
    "bi_rank max": Case(lambda x, z, y: losses.bi_rank(x, z, y, negatives="max", mask="label"), 0, 0, 4 * 2 * 0.2),
    "bi_rank semi": Case(
        lambda x, z, y: losses.bi_rank(x, z, image_ids=y, negatives="semi", mask="image"), 0, 0, 4 * 2 * 0.2
    ),
    "bi_rank topk": Case(
        lambda x, z, y: losses.bi_rank(x, z, y, negatives="topk", mask="label", reduction="mean", k=2),
        0,
        0,
        2 * 2 * 0.2,
    ),
    "bi_rank euclidean": Case(lambda x, z, y: losses.bi_rank(x, z, similarity="euclidean"), 0, None, 4 * 2 * 3 * 0.2),
    "ranking_hinge": Case(lambda x, z, y: losses.ranking_hinge(_products(x, z)), 0, None, 4 * 2 * 3 * 0.2),
    "n_pair": Case(lambda x, z, y: losses.n_pair(x, z), 0, None, 2 * LOG_2),
    "n_pair soft": Case(lambda x, z, y: losses.n_pair(x, z, y, bidirectional=True, l2=0.02), None, None, 4 * LOG_2),
    "histogram": Case(lambda x, z, y: losses.histogram(x, y), 0, 0, 1),
    "histogram cross-modal": Case(lambda x, z, y: losses.histogram(x, y, z, bins=7), 0, 0, None),
    "contrastive": Case(lambda x, z, y: losses.contrastive(x, y), 0, None, 4 * 2 / 3),
    "contrastive cross-modal": Case(lambda x, z, y: losses.contrastive(x, y, z, normalize=False), None, None, 2),
    "triplet_semihard": Case(lambda x, z, y: losses.triplet_semihard(x, y), 0, 0, 1),
    "triplet_semihard cross-modal": Case(
        lambda x, z, y: losses.triplet_semihard(x, y, z, distance="squared", margin=0.3), 0, 0, 0.3
    ),
    "triplet_semihard_all": Case(lambda x, z, y: losses.triplet_semihard_all(x, y), 0, 0, 0),
    "triplet_semihard_all cross-modal": Case(
        lambda x, z, y: losses.triplet_semihard_all(x, y, z, normalize=False, margin=3.0), 0, 0, 0
    ),
    "angular": Case(lambda x, z, y: losses.angular(x, z, y), 0, 0, float(np.log(3.0))),
    "angular distinct": Case(lambda x, z, y: losses.angular(x, z), 0, None, 2 * LOG_2),
    "n_pair_angular": Case(lambda x, z, y: losses.n_pair_angular(x, z), 0, None, 6 * LOG_2),
    "angular_all_pairs": Case(lambda x, z, y: losses.angular_all_pairs(x, y), 0, 0, float(np.log(3.0))),
    "angular_all_pairs pairs": Case(
        lambda x, z, y: losses.angular_all_pairs(x, y, z, normalize="pairs"), 0, 0, float(np.log(3.0))
    ),
    "angular_all_pairs none": Case(
        lambda x, z, y: losses.angular_all_pairs(x, y, normalize="none"), 0, 0, float(np.log(3.0))
    ),
    "proxy_nca": Case(lambda x, z, y: losses.proxy_nca(x, y, np.eye(8, 8)), zeros=LOG_CLASSES),
    "proxy_nca own proxies": Case(lambda x, z, y: losses.proxy_nca(x, np.arange(len(x)), z), 0, None, 2 * LOG_2),
    "proxy_nca original": Case(
        lambda x, z, y: losses.proxy_nca(x, np.arange(len(x)), z, positive_in_denominator=False),
        0,
        None,
        float(np.log(3.0)),
    ),
    "proxy_anchor": Case(
        lambda x, z, y: losses.proxy_anchor(x, y, np.eye(8, 8)),
        zeros=float(1.25 * np.log1p(2 * np.exp(3.2)) + 0.75 * np.log1p(4 * np.exp(3.2))),
    ),
    "soft_triple": Case(
        lambda x, z, y: losses.soft_triple(x, y, _CENTERS, tau=0.0), zeros=float(np.log(7 + np.exp(-0.2)) + 0.2)
    ),
    "soft_triple own centers": Case(lambda x, z, y: losses.soft_triple(x, y, ops.stack([_rows(z), _rows(x)], axis=1))),
    "multi_similarity": Case(lambda x, z, y: losses.multi_similarity(x, y), 0, 0, _ZERO_COSINES),
    "multi_similarity cross-modal": Case(
        lambda x, z, y: losses.multi_similarity(x, y, z, epsilon=None), None, None, _ZERO_COSINES + 0.5 * _SECOND
    ),
    "supervised_contrastive": Case(lambda x, z, y: losses.supervised_contrastive(x, y), 0, None, float(np.log(3.0))),
    "supervised_contrastive cross-modal": Case(
        lambda x, z, y: losses.supervised_contrastive(x, y, z), 0, None, float(np.log(4.0))
    ),
    "energy_confusion": Case(lambda x, z, y: losses.energy_confusion(x, y), 0, 0, 0),
    "energy_confusion classes": Case(lambda x, z, y: losses.energy_confusion(x, y, z, y, average="classes"), 0, 0, 0),
    "energy_confusion sampled": Case(lambda x, z, y: losses.energy_confusion(x, y, z, mode="sampled", seed=3), 0, 0, 0),
    "energy_confusion later": Case(
        lambda x, z, y: losses.energy_confusion(x, y, mode="later", half=True, seed=3), 0, None, 0
    ),
    "energy_confusion log": Case(
        lambda x, z, y: losses.energy_confusion(x, y, log=True), np.log(1e-12), np.log(1e-12), np.log(1e-12)
    ),
    "smoothed_softmax": Case(lambda x, z, y: losses.smoothed_softmax(x, y, 0.1, form="wrong"), zeros=LOG_CLASSES),
    "soft_adversary": Case(lambda x, z, y: losses.soft_adversary(x, y), zeros=0.5 * LOG_CLASSES),
    "adaptive_adversary": Case(lambda x, z, y: losses.adaptive_adversary(x, y), zeros=LOG_CLASSES),
    "adaptive_adversary_factor": Case(
        lambda x, z, y: losses.adaptive_adversary_factor(losses.adaptive_adversary(x, y)),
        zeros=-0.5 * float(np.tanh(LOG_CLASSES - 1.5)),
    ),
    "modality_two_way": Case(lambda x, z, y: losses.modality_two_way(x[:, :2], z[:, :2]), zeros=2 * LOG_2),
    "modality_discriminator": Case(lambda x, z, y: losses.modality_discriminator(x[:, 0], z[:, 1]), zeros=2 * LOG_2),
    "random_modality_targets": Case(
        lambda x, z, y: losses.modality_discriminator(x[:, :1], z[:, :1], **_targets(y)), zeros=2 * LOG_2
    ),
    "modality_generator": Case(lambda x, z, y: losses.modality_generator(x[:, 0], z[:, 0]), zeros=2 * LOG_2),
    "modality_generator minimax": Case(
        lambda x, z, y: losses.modality_generator(x[:, 0], z[:, 0], form="minimax"), zeros=-2 * LOG_2
    ),
    "dann_factor": Case(lambda x, z, y: ops.sum(losses.dann_factor(x)), zeros=0),
    "generalised_logistic": Case(lambda x, z, y: ops.sum(losses.generalised_logistic(x)), zeros=32 * LOG_2 / 10),
    "coupled_correlation": Case(lambda x, z, y: losses.coupled_correlation(x, z, y), zeros=2 * 4 + 1e-6),
    "coupled_correlation frobenius": Case(
        lambda x, z, y: losses.coupled_correlation(x, z, y, pair_term="frobenius", sharpness=1.0)
    ),
    "label_discrimination": Case(lambda x, z, y: losses.label_discrimination(x, z, y), zeros=2 * LOG_CLASSES),
    "fit_domain_classifiers": Case(lambda x, z, y: losses.domain_adversary(_domain_errors(x, z)), zeros=None),
    "domain_error_matrix": Case(lambda x, z, y: ops.sum(_domain_errors(x, z))),
    "domain_adversary": Case(lambda x, z, y: losses.domain_adversary(_domain_errors(x, z))),
    "domain_regulariser": Case(
        lambda x, z, y: losses.domain_regulariser(_domain_errors(x, z), _next(y, 1), _next(y, 2)), 0, None, 4 * 0.2
    ),
    "domain_regulariser_terms": Case(
        lambda x, z, y: ops.sum(losses.domain_regulariser_terms(_domain_errors(x, z), _next(y, 1), _next(y, 2))[0]),
        0,
        None,
        4 * 2 * 0.2,
    ),
    "cross_attention": Case(lambda x, z, y: ops.sum(losses.cross_attention(*_many(x, z))), zeros=0),
    "cross_attention i2t": Case(
        lambda x, z, y: ops.mean(losses.cross_attention(*_many(x, z), direction="i2t", pooling="lse")),
        zeros=float(np.log(3) / 6),
    ),
    "bfan": Case(lambda x, z, y: ops.sum(losses.bfan(*_many(x, z))), zeros=0),
    "bfan prob": Case(lambda x, z, y: ops.sum(losses.bfan(*_many(x, z), focal="prob")), zeros=0),
    "late_interaction": Case(lambda x, z, y: ops.sum(losses.late_interaction(*_many(x, z))), zeros=0),
    "pooled_cosine": Case(lambda x, z, y: ops.sum(losses.pooled_cosine(*_many(x, z))), zeros=0),
    "attention_weights": Case(
        lambda x, z, y: ops.sum(losses.attention_weights(*_many(x, z))[:, :, 0]), zeros=4 * 2 / 3
    ),
    "hardest_negatives": Case(lambda x, z, y: _two_passes(x, z), 0, None, 4 * 2 * 0.2),
    "hinge_of_hardest": Case(lambda x, z, y: _two_passes(x, z), 0, None, 4 * 2 * 0.2),
    "score_softmax": Case(
        lambda x, z, y: losses.score_softmax(_products(x, z), y, temperature=1.0), None, None, float(np.log(4))
    ),
    "caption_nll": Case(lambda x, z, y: _captions(x, z, y), zeros=2 * LOG_CLASSES),
    "caption_nll masked": Case(
        lambda x, z, y: _captions(x, z, y, mask=np.zeros((len(x), 2)), reduction="token"), 0, 0, 0
    ),
}
# Targets and masks are no losses of embeddings: they have no gradient.
WITHOUT_GRADIENT = {"smoothed_targets", "focal_mask"}
