"""Losses on embeddings as pure functions of keras.ops: usable in any Keras 3 program and backend."""

from xmkeras.losses.classification import (
    cmpc,
    cmpc_terms,
    norm_softmax,
    projection_softmax,
    softmax_loss,
)
from xmkeras.losses.cmpm import cmpm, cmpm_terms

__all__ = [
    "cmpc",
    "cmpc_terms",
    "cmpm",
    "cmpm_terms",
    "norm_softmax",
    "projection_softmax",
    "softmax_loss",
]
