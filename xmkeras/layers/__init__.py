"""Small Keras layers in keras.ops, all serialisable under the package name xmkeras."""

from xmkeras.layers.caffe import CaffePreprocessing
from xmkeras.layers.embedding_queue import EmbeddingQueue
from xmkeras.layers.epoch_mean import EpochMean
from xmkeras.layers.gradient_reversal import GradientReversal
from xmkeras.layers.lstm import PortableLSTM
from xmkeras.layers.map_attention import MapAttention
from xmkeras.layers.noise import Dropout, WordDropout
from xmkeras.layers.pooling import LastStatePooling, MaskedMaxPooling, MaskedMeanPooling, PaddingMask
from xmkeras.layers.unit_column_dense import UnitColumnDense

__all__ = [
    "CaffePreprocessing",
    "Dropout",
    "EmbeddingQueue",
    "EpochMean",
    "GradientReversal",
    "LastStatePooling",
    "MapAttention",
    "MaskedMaxPooling",
    "MaskedMeanPooling",
    "PaddingMask",
    "PortableLSTM",
    "UnitColumnDense",
    "WordDropout",
]
