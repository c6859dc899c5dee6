"""Small Keras layers in keras.ops, all serialisable under the package name xmkeras."""

from xmkeras.layers.noise import Dropout, WordDropout
from xmkeras.layers.pooling import LastStatePooling, MaskedMaxPooling, MaskedMeanPooling
from xmkeras.layers.unit_column_dense import UnitColumnDense

__all__ = [
    "Dropout",
    "LastStatePooling",
    "MaskedMaxPooling",
    "MaskedMeanPooling",
    "UnitColumnDense",
    "WordDropout",
]
