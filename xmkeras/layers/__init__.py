"""Small Keras layers in keras.ops, all serialisable under the package name xmkeras."""

from xmkeras.layers.caffe import CaffePreprocessing
from xmkeras.layers.embedding_queue import EmbeddingQueue
from xmkeras.layers.epoch_mean import EpochMean
from xmkeras.layers.generalized_pooling import GeneralizedPooling
from xmkeras.layers.gradient_reversal import GradientReversal
from xmkeras.layers.grid import GridRegions
from xmkeras.layers.learnt_scalar import LearntScalar
from xmkeras.layers.map_attention import MapAttention
from xmkeras.layers.noise import Dropout, WordDropout
from xmkeras.layers.pooling import LastState, LastStatePooling, MaskedMaxPooling, MaskedMeanPooling, PaddingMask
from xmkeras.layers.recurrent import PortableGRU, PortableLSTM
from xmkeras.layers.unit_column_dense import UnitColumnDense

__all__ = [
    "CaffePreprocessing",
    "Dropout",
    "EmbeddingQueue",
    "EpochMean",
    "GeneralizedPooling",
    "GradientReversal",
    "GridRegions",
    "LastState",
    "LastStatePooling",
    "LearntScalar",
    "MapAttention",
    "MaskedMaxPooling",
    "MaskedMeanPooling",
    "PaddingMask",
    "PortableGRU",
    "PortableLSTM",
    "UnitColumnDense",
    "WordDropout",
]
