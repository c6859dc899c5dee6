"""Takes SGD steps with every method on the devices given and writes the changes: `replica_steps DEVICES OUT`.

A process of its own, because the strategy has to be made before TensorFlow is used, once.
"""

from __future__ import annotations

import re
import sys

import keras
import numpy as np
import tensorflow as tf

from tests.conformance.cases import METHODS, SMALL, random_batches
from xmkeras import assembly, flags
from xmkeras.config import Config
from xmkeras.data.text import Tokenizer, Vocabulary
from xmkeras.method import Method
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


CASES = {"plain": (5, 0.1), "norm": (1, 0.1), "mobilenet": (1, 1e-4)}  # towers: steps and rate
# A method sees embeddings, whatever made them: on the deep towers, which take longest, one stands for all.
DEEP = "cmpm_cmpc"
PAIRS = [(name, towers) for towers in CASES for name in METHODS if towers != "mobilenet" or name == DEEP]


def main(devices: str, out: str) -> None:
    """Every method on its kinds of towers; results are named `<method>/<towers>/<what>`."""
    strategy = make_strategy(devices)
    results: dict[str, np.ndarray] = {"replicas": np.array(strategy.num_replicas_in_sync)}
    for name, towers in PAIRS:
        config = flags.parse([*METHODS[name], *SMALL, "--image_size=64", "--dropout=0", "--clip_norm=5"]).config
        for key, value in take_steps(strategy, config, towers).items():
            results[f"{name}/{towers}/{key}"] = value
    np.savez(out, **results)


def take_steps(strategy: tf.distribute.Strategy, config: Config, towers: str) -> dict[str, np.ndarray]:
    """The losses of the last step, all variables after it, and the whole change of what is trained."""
    keras.utils.set_random_seed(3)
    steps, rate = CASES[towers]
    with strategy.scope():
        method = assembly.build_method(config, Vocabulary(WORDS), 8)
        if towers != "mobilenet":
            method = type(method)(smooth_towers(norm=towers == "norm"), method.params, 8)
        for part in method.towers.named_parts.values():
            set_synchronized(part, strategy.num_replicas_in_sync > 1)
        named = method.named_variables()
        optimizers = {
            phase.name: GroupedOptimizer(
                {name: variable for name, variable in named.items() if re.fullmatch(phase.variables, name)},
                (),
                Defaults("sgd", rate, momentum=0.0),
                name=phase.name,
            )
            for phase in method.phases()
        }
        for optimizer in optimizers.values():
            optimizer.set_rate(rate)
    train_step = TrainStep(method, optimizers, strategy, clip_norm=config.train.clip_norm)
    size = 64 if towers == "mobilenet" else 8
    batches = random_batches(steps, 8, image_size=size, vocabulary=len(WORDS))
    stacked = {name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]}
    dataset = tf.data.Dataset.from_tensor_slices(stacked).batch(8, drop_remainder=True)
    if strategy.num_replicas_in_sync > 1:
        dataset = strategy.experimental_distribute_dataset(dataset)
    before = {name: variable.numpy() for name, variable in named.items()}
    for step, batch in enumerate(dataset):
        results = train_step(batch, step)
    after = {name: variable.numpy() for name, variable in named.items()}
    trained = [name for optimizer in optimizers.values() for name in optimizer.trainable_names]
    update = np.concatenate([(after[name] - before[name]).ravel() for name in trained])
    gauges = _gauge_names(method)
    numbers = {
        f"{'gauge' if name in gauges else 'loss'}:{name}": value.numpy()
        for name, value in results.items()
        if name != "finite_rows"
    }
    return {"update": update, **{f"value:{name}": value for name, value in after.items()}, **numbers}


def _gauge_names(method: Method) -> set[str]:
    """Which results of a step are gauges, learnt from two rows of random embeddings."""
    embeddings = keras.random.normal((2, method.towers.embedding_dim), seed=0)
    labels = keras.ops.arange(2)
    return set(method.gauges({"image": embeddings, "text": -embeddings}, {"label": labels, "image_id": labels}))


if __name__ == "__main__":
    main(*sys.argv[1:])
