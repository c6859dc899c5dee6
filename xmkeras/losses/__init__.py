"""Losses on embeddings as pure functions of keras.ops: usable in any Keras 3 program and backend."""

from xmkeras.losses.angular import angular, angular_all_pairs, n_pair_angular
from xmkeras.losses.batch_scores import hardest_negatives, hinge_of_hardest, score_softmax
from xmkeras.losses.caption import caption_nll
from xmkeras.losses.class_adversary import (
    adaptive_adversary,
    adaptive_adversary_factor,
    soft_adversary,
)
from xmkeras.losses.classification import (
    cmpc,
    cmpc_terms,
    norm_softmax,
    projection_softmax,
    softmax_loss,
)
from xmkeras.losses.cmpm import cmpm, cmpm_terms
from xmkeras.losses.contrastive import contrastive
from xmkeras.losses.correlation import coupled_correlation, generalised_logistic, label_discrimination
from xmkeras.losses.cross_attention import (
    attention_weights,
    bfan,
    cross_attention,
    focal_mask,
    late_interaction,
    pooled_cosine,
)
from xmkeras.losses.domain_errors import (
    domain_adversary,
    domain_error_matrix,
    domain_regulariser,
    domain_regulariser_terms,
    fit_domain_classifiers,
)
from xmkeras.losses.energy_confusion import energy_confusion
from xmkeras.losses.histogram import histogram
from xmkeras.losses.modality import (
    dann_factor,
    modality_discriminator,
    modality_generator,
    modality_two_way,
)
from xmkeras.losses.multi_similarity import multi_similarity, supervised_contrastive
from xmkeras.losses.n_pair import n_pair
from xmkeras.losses.proxies import proxy_anchor, soft_triple
from xmkeras.losses.proxy_nca import proxy_nca
from xmkeras.losses.ranking import bi_rank, ranking_hinge
from xmkeras.losses.smoothing import random_modality_targets, smoothed_softmax, smoothed_targets
from xmkeras.losses.triplet import triplet_semihard, triplet_semihard_all

__all__ = [
    "adaptive_adversary",
    "adaptive_adversary_factor",
    "angular",
    "angular_all_pairs",
    "attention_weights",
    "bfan",
    "bi_rank",
    "caption_nll",
    "cmpc",
    "cmpc_terms",
    "cmpm",
    "cmpm_terms",
    "contrastive",
    "coupled_correlation",
    "cross_attention",
    "dann_factor",
    "domain_adversary",
    "domain_error_matrix",
    "domain_regulariser",
    "domain_regulariser_terms",
    "energy_confusion",
    "fit_domain_classifiers",
    "focal_mask",
    "generalised_logistic",
    "hardest_negatives",
    "hinge_of_hardest",
    "histogram",
    "label_discrimination",
    "late_interaction",
    "modality_discriminator",
    "modality_generator",
    "modality_two_way",
    "multi_similarity",
    "n_pair",
    "n_pair_angular",
    "norm_softmax",
    "pooled_cosine",
    "projection_softmax",
    "proxy_anchor",
    "proxy_nca",
    "random_modality_targets",
    "ranking_hinge",
    "score_softmax",
    "smoothed_softmax",
    "smoothed_targets",
    "soft_adversary",
    "soft_triple",
    "softmax_loss",
    "supervised_contrastive",
    "triplet_semihard",
    "triplet_semihard_all",
]
