"""Takes SGD steps with every method on the devices given and writes the changes: `replica_steps DEVICES OUT`.

A process of its own, because the strategy has to be made before TensorFlow is used, once.
"""

from __future__ import annotations

import functools
import importlib
import re
import sys

import keras
import numpy as np
import tensorflow as tf

from tests.conformance.cases import DML, METHODS, REGION_WORDS, random_batches
from tests.toys import WORDS as TOY_WORDS
from tests.toys import NoParams, PairScore, pair_batch, region_encoder, words_encoder
from xmkeras import flags
from xmkeras.method import Clock, Method
from xmkeras.models.batch_norm import with_fused_batch_norm
from xmkeras.models.encoder import Encoder, Part, Towers
from xmkeras.models.image import set_synchronized
from xmkeras.models.maps import Fusion, fused_features
from xmkeras.models.regions import region_encoder as published_regions
from xmkeras.models.towers import word_encoder
from xmkeras.training.ema import MovingAverage
from xmkeras.training.optimizers import Defaults, GroupedOptimizer
from xmkeras.training.step import TrainStep
from xmkeras.training.strategy import make_strategy

WORDS = 23  # ids of the vocabulary
LABELS = 8


def smooth_towers(norm: bool, dim: int = 6, fusion: Fusion | None = None) -> Towers:
    """Two small towers without kinks; on request with batch norm, of the library's kind, and a Bi-LSTM.

    With a fusion the image tower gives the map behind its one activation.
    """
    image = keras.Input((8, 8, 3), name="image")
    x = keras.layers.Conv2D(10, 3, use_bias=not norm, name="conv")(keras.layers.Rescaling(1 / 255, name="scale")(image))
    x = keras.layers.BatchNormalization(name="norm")(x) if norm else x
    x = keras.layers.Activation("tanh", name="tanh")(x)
    pooled = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    maps = [x] if fusion is not None and fusion.maps else []
    features = [keras.Input(one.shape[1:], name=f"feature_{number}") for number, one in enumerate([pooled, *maps])]
    feature = features[0] if fusion is None else fused_features(features[0], features[1:], fusion)

    def embed(x: keras.KerasTensor) -> keras.KerasTensor:
        x = keras.layers.Dense(dim, use_bias=not norm, name="out")(x)
        return keras.layers.BatchNormalization(name="out_norm")(x) if norm else x

    entries = ("image_features", "image_map/tanh")[: len(features)]
    network = with_fused_batch_norm(keras.Model(image, [pooled, *maps], name="image_backbone"))
    backbone = Part(network, ("image",), entries)
    given = [embed(feature)] if fusion is None else [embed(feature), feature]
    head = Part(keras.Model(features, given, name="image_head"), entries, ("", "features")[: len(given)])
    words = {"word_dim": 12, "lstm_units": 6 if norm else 0, "joint_norm": "batch" if norm else "none"}
    text = word_encoder(WORDS, embedding_dim=dim, pooling="mean", **words)
    return Towers({"image": Encoder.chain(backbone, head), "text": text})


TOWERS = {
    "plain": functools.partial(smooth_towers, False),
    "norm": functools.partial(smooth_towers, True),
}
# Towers: steps and rate. The hinge of hardest negatives is a sum over the batch, and its attention has kinks: with
# large steps rounding grows.
CASES = {"plain": (5, 0.1), "norm": (1, 0.1), "regions": (3, 0.003)}
# A method sees embeddings, whatever made them: of batch norm one phase and two stand for all.
PAIRS = [*((name, "plain") for name in METHODS), ("cmpm_cmpc", "norm"), ("timam", "norm")]
PAIRS += [*((name, "plain") for name in DML), ("pair_score", "plain")]
PAIRS += [(name, "norm" if name == "vsrn" else "regions") for name in REGION_WORDS]


def build(name: str, towers: str) -> Method:
    """A method of the table, or a toy, on one kind of towers."""
    if name == "pair_score":
        return PairScore(Towers({"image": region_encoder(), "text": words_encoder()}), NoParams(), LABELS)
    config = flags.parse(list((METHODS | DML | REGION_WORDS)[name])).config
    kind = importlib.import_module(f"xmkeras.methods.{config.method}").METHOD
    params = kind.Params(**config.method_params)
    if name in REGION_WORDS:
        asked = kind.encoder_options(params)
        image = published_regions((3, 6), embedding_dim=5, **asked["image"])
        text = word_encoder(TOY_WORDS, embedding_dim=5, word_dim=6, **asked["text"])
        return kind(Towers({"image": image, "text": text}), params, LABELS)
    built = TOWERS[towers](**kind.encoder_options(params).get("image", {}))
    return kind(Towers({side: built.sides[side] for side in kind.sides}), params, LABELS)


def batches_of(name: str, towers: str, count: int) -> dict[str, np.ndarray]:
    """`count` batches of eight rows, one behind the other; the images of the last one are NaN."""
    batches = random_batches(count, 8, image_size=8, vocabulary=WORDS - 3)
    if name == "pair_score" or name in REGION_WORDS:
        batches = [{key: value.numpy() for key, value in pair_batch(seed, size=8).items()} for seed in range(count)]
        for batch in batches:
            batch["image_features"] = batch["image_regions"]
    stacked = {key: np.concatenate([batch[key] for batch in batches]) for key in batches[0]}
    for key in stacked.keys() & {"image", "image_regions", "image_features"}:
        stacked[key][-8:] = np.nan
    return stacked


def main(devices: str, out: str) -> None:
    """Every method on its kinds of towers; results are named `<method>/<towers>/<what>`."""
    strategy = make_strategy(devices)
    results: dict[str, np.ndarray] = {"replicas": np.array(strategy.num_replicas_in_sync)}
    for name, towers in PAIRS:
        for key, value in take_steps(strategy, name, towers).items():
            results[f"{name}/{towers}/{key}"] = value
    np.savez(out, **results)


def take_steps(strategy: tf.distribute.Strategy, name: str, towers: str) -> dict[str, np.ndarray]:
    """The losses of the last finite step, all variables after it, and the whole change of what is trained.

    `skipped` names the variables that one more step, whose images are NaN, has changed in any replica.
    """
    keras.utils.set_random_seed(3)
    steps, rate = CASES[towers]
    with strategy.scope():
        method = build(name, towers)
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
        average = MovingAverage(named, 0.9)
    train_step = TrainStep(method, optimizers, strategy, clip_norm=5.0, average=average)
    dataset = tf.data.Dataset.from_tensor_slices(batches_of(name, towers, steps + 1)).batch(8, drop_remainder=True)
    if strategy.num_replicas_in_sync > 1:
        dataset = strategy.experimental_distribute_dataset(dataset)
    before = {name: variable.numpy() for name, variable in named.items()}
    *finite, broken = dataset
    for step, batch in enumerate(finite):
        method.start_step(Clock(step, steps_per_epoch=2, total_steps=steps))
        results = train_step(batch, step)
    after = {name: variable.numpy() for name, variable in named.items()}
    averages = {f"average/{name}": variable for name, variable in average.variables.items()}
    everything = {name: variable.value for name, variable in named.items()} | averages
    kept = _copies(strategy, everything)
    train_step(broken, 0)
    skipped = [name for name, copies in _copies(strategy, everything).items() if copies != kept[name]]
    trained = [name for optimizer in optimizers.values() for name in optimizer.trainable_names]
    update = np.concatenate([(after[name] - before[name]).ravel() for name in trained])
    gauges = _gauge_names(method)
    numbers = {
        f"{'gauge' if name in gauges else 'loss'}:{name}": value.numpy()
        for name, value in results.items()
        if value.shape.rank == 0
    }
    values = {f"value:{name}": value for name, value in after.items()}
    return {"update": update, "skipped": np.array(skipped, str), **values, **numbers}


def _copies(strategy: tf.distribute.Strategy, variables: dict[str, tf.Variable]) -> dict[str, list[bytes]]:
    """The bits of each variable in each replica."""
    return {
        name: [copy.numpy().tobytes() for copy in strategy.experimental_local_results(variable)]
        for name, variable in variables.items()
    }


def _gauge_names(method: Method) -> set[str]:
    """Which results of a step are gauges, learnt from two rows of random embeddings."""
    embeddings = keras.random.normal((2, method.towers.embedding_dim), seed=0)
    labels = keras.ops.arange(2)
    return set(method.gauges({"image": embeddings, "text": -embeddings}, {"label": labels, "image_id": labels}))


if __name__ == "__main__":
    main(*sys.argv[1:])
