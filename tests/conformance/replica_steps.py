"""Takes SGD steps on the devices given and writes the changes: `replica_steps DEVICES TOWERS STEPS OUT FLAGS...`.

A process of its own, because the strategy has to be made before TensorFlow is used, once.
"""

from __future__ import annotations

import sys

import keras
import numpy as np
import tensorflow as tf

from tests.conformance.cases import random_batches
from xmkeras import assembly, flags
from xmkeras.data.text import Tokenizer, Vocabulary
from xmkeras.models.image import set_synchronized
from xmkeras.models.towers import Towers
from xmkeras.training.optimizers import Defaults, GroupedOptimizer
from xmkeras.training.step import TrainStep
from xmkeras.training.strategy import make_strategy

WORDS = [f"word{number}" for number in range(20)]


def smooth_towers(norm: bool, dim: int = 6) -> Towers:
    """Two small towers without kinks, with batch norm in the image tower and in both embeddings on request."""
    image = keras.Input((8, 8, 3), name="image")
    x = keras.layers.Conv2D(10, 3, use_bias=not norm, name="conv")(keras.layers.Rescaling(1 / 255, name="scale")(image))
    x = keras.layers.BatchNormalization(name="norm")(x) if norm else x
    pooled = keras.layers.GlobalAveragePooling2D(name="pool")(keras.layers.Activation("tanh", name="tanh")(x))
    feature = keras.Input((10,), name="feature")

    def embed(x: keras.KerasTensor) -> keras.KerasTensor:
        x = keras.layers.Dense(dim, use_bias=not norm, name="out")(x)
        return keras.layers.BatchNormalization(name="out_norm")(x) if norm else x

    ids = keras.Input((None,), dtype="int32", name="ids")
    words = keras.layers.Embedding(len(WORDS) + 3, 12, name="words")(ids)
    mean = keras.layers.GlobalAveragePooling1D(name="mean")(words)
    return Towers(
        image_backbone=keras.Model(image, pooled, name="image_backbone"),
        image_head=keras.Model(feature, embed(feature), name="image_head"),
        text_encoder=keras.Model(ids, embed(mean), name="text_encoder"),
        tokenizer=Tokenizer(Vocabulary(WORDS)),
    )


def main(devices: str, towers: str, steps: str, out: str, *argv: str) -> None:
    strategy = make_strategy(devices)
    keras.utils.set_random_seed(3)
    config = flags.parse(argv).config
    size = 64 if towers == "mobilenet" else 8
    rate = 1e-4 if towers == "mobilenet" else 0.1
    with strategy.scope():
        method = assembly.build_method(config, Vocabulary(WORDS), 8)
        if towers != "mobilenet":
            method = type(method)(smooth_towers(norm=towers == "norm"), method.params, 8)
    for part in method.towers.named_parts.values():
        set_synchronized(part, strategy.num_replicas_in_sync > 1)
    with strategy.scope():
        named = method.named_variables()
        optimizers = {
            phase.name: GroupedOptimizer(named, (), Defaults("sgd", rate, momentum=0.0), name=phase.name)
            for phase in method.phases()
        }
        for optimizer in optimizers.values():
            optimizer.set_rate(rate)
    train_step = TrainStep(method, optimizers, strategy, clip_norm=config.train.clip_norm)
    batches = random_batches(int(steps), 8, image_size=size, vocabulary=len(WORDS))
    stacked = {name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]}
    dataset = tf.data.Dataset.from_tensor_slices(stacked).batch(8, drop_remainder=True)
    if strategy.num_replicas_in_sync > 1:
        dataset = strategy.experimental_distribute_dataset(dataset)
    before = {name: variable.numpy() for name, variable in named.items()}
    for step, batch in enumerate(dataset):
        results = train_step(batch, step)
    values = {f"value:{name}": variable.numpy() for name, variable in named.items()}
    scalars = {f"loss:{name}": value.numpy() for name, value in results.items() if name != "finite_rows"}
    update = np.concatenate([(values[f"value:{name}"] - before[name]).ravel() for name in optimizers_of(optimizers)])
    np.savez(out, replicas=strategy.num_replicas_in_sync, update=update, **values, **scalars)


def optimizers_of(optimizers: dict[str, GroupedOptimizer]) -> list[str]:
    """The names of everything that is trained."""
    return [name for optimizer in optimizers.values() for name in optimizer.trainable_names]


if __name__ == "__main__":
    main(*sys.argv[1:])
