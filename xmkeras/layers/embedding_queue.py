"""The embeddings of the last batches with their labels: more references for a loss than a batch holds."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

Tensor = Any


@keras.saving.register_keras_serializable(package="xmkeras")
class EmbeddingQueue(keras.layers.Layer):
    """Keeps the last `capacity` embeddings (cross-batch memory: Wang et al., CVPR 2020).

    They are constants: no gradient flows into what a former step has computed. Registered as a head of a method, the
    queue is in its checkpoints.

    Args:
        capacity: number of embeddings.
        dim: size of an embedding.

    Call arguments:
        x: (n, dim) embeddings, the same in all replicas.
        labels: (n,) integers, 0 or greater.

    Example:

    >>> from keras import ops
    >>> from xmkeras import layers
    >>> queue = layers.EmbeddingQueue(3, 2)
    >>> queue(ops.eye(2), ops.convert_to_tensor([4, 5]))
    >>> bool(queue.full)
    False
    >>> queue(ops.ones((1, 2)), ops.convert_to_tensor([6]))
    >>> print(bool(queue.full), ops.convert_to_numpy(queue.labels))
    True [6 4 5]
    """

    def __init__(self, capacity: int, dim: int, **options: Any):
        super().__init__(**{"dtype": "float32", **options})
        self.capacity = capacity
        self.dim = dim
        # Replicas write equal values, so that one of them stands for all.
        common: dict[str, Any] = {"trainable": False, "aggregation": "only_first_replica"}
        self.vectors = self.add_weight(shape=(capacity, dim), initializer="zeros", name="vectors", **common)
        nothing = keras.initializers.Constant(-1)
        self.labels = self.add_weight(shape=(capacity,), initializer=nothing, dtype="int32", name="labels", **common)
        self.built = True

    def call(self, x: Tensor, labels: Tensor) -> None:
        """Puts a batch before what is there, of which the oldest embeddings go."""
        x = ops.cast(ops.stop_gradient(x), self.vectors.dtype)
        self.vectors.assign(ops.concatenate([x, self.vectors])[: self.capacity])
        self.labels.assign(ops.concatenate([ops.cast(labels, "int32"), self.labels])[: self.capacity])

    @property
    def full(self) -> Tensor:
        """Whether all places are taken, a bool scalar."""
        return self.labels[-1] >= 0

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "capacity": self.capacity, "dim": self.dim}
