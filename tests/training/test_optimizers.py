"""Grouped optimizers against steps computed with numpy."""

from __future__ import annotations

import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from xmkeras.errors import UserError
from xmkeras.training.groups import Group
from xmkeras.training.optimizers import Defaults, GroupedOptimizer

SHAPES = {
    "image_backbone/conv/kernel": (3, 2),
    "image_head/norm/gamma": (4,),
    "text_encoder/words/embeddings": (5, 2),
    "text_encoder/lstm/bias": (3,),
}


def make_variables(seed: int = 0) -> dict[str, keras.Variable]:
    rng = np.random.default_rng(seed)
    return {name: keras.Variable(rng.normal(size=shape).astype("float32")) for name, shape in SHAPES.items()}


def make_gradients(step: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(100 + step)
    return {name: rng.normal(size=shape).astype("float32") for name, shape in SHAPES.items()}


def freeze(variables: dict[str, keras.Variable], start: str) -> None:
    for name, variable in variables.items():
        variable.trainable = not name.startswith(start)


def apply(optimizer: GroupedOptimizer, step: int) -> None:
    optimizer.apply({name: tf.constant(value) for name, value in make_gradients(step).items()})


def adam(
    start: np.ndarray, gradients: list[np.ndarray], rates: list[float], decay: float = 0.0
) -> np.ndarray:
    w, m, v = start.astype(np.float64), 0.0, 0.0
    for t, (g, rate) in enumerate(zip(gradients, rates, strict=True), start=1):
        w = w - rate * decay * w
        m = 0.9 * m + 0.1 * g
        v = 0.999 * v + 0.001 * g**2
        w = w - rate * np.sqrt(1 - 0.999**t) / (1 - 0.9**t) * m / (np.sqrt(v) + 1e-8)
    return w


def sgd(start: np.ndarray, gradients: list[np.ndarray], rates: list[float], momentum: float) -> np.ndarray:
    w, velocity = start.astype(np.float64), 0.0
    for g, rate in zip(gradients, rates, strict=True):
        velocity = momentum * velocity - rate * g
        w = w + velocity
    return w


def test_three_steps_of_mixed_groups_equal_numpy() -> None:
    variables = make_variables()
    starts = {name: variable.numpy() for name, variable in variables.items()}
    groups = [
        Group("image_backbone/.*", optimizer="sgd", learning_rate=0.05, momentum=0.8),
        Group("text_encoder/words/.*", multiple=10.0, weight_decay=0.0),
    ]
    optimizer = GroupedOptimizer(variables, groups, Defaults(learning_rate=0.01, weight_decay=0.1))
    rates = [0.01, 0.008, 0.002]
    for step, rate in enumerate(rates):
        optimizer.set_rate(rate)
        apply(optimizer, step)
    steps = [make_gradients(step) for step in range(3)]

    def close(name: str, expected: np.ndarray) -> None:
        np.testing.assert_allclose(variables[name].numpy(), expected, rtol=2e-5, atol=1e-6)

    for name in ("image_head/norm/gamma", "text_encoder/lstm/bias"):
        close(name, adam(starts[name], [g[name] for g in steps], rates))
    name = "text_encoder/words/embeddings"
    close(name, adam(starts[name], [g[name] for g in steps], [10 * rate for rate in rates]))
    name = "image_backbone/conv/kernel"
    decayed = starts[name].astype(np.float64)
    velocity = np.zeros_like(decayed)
    for g, rate in zip(steps, [5 * rate for rate in rates], strict=True):
        velocity = 0.8 * velocity - rate * g[name]
        decayed = decayed * (1 - rate * 0.1) + velocity
    close(name, decayed)


def test_weight_decay_is_decoupled_and_spares_vectors() -> None:
    variables = make_variables()
    starts = {name: variable.numpy() for name, variable in variables.items()}
    optimizer = GroupedOptimizer(variables, defaults=Defaults("adamw", learning_rate=0.01, weight_decay=0.5))
    apply(optimizer, 0)
    for name, start in starts.items():
        decay = 0.5 if start.ndim > 1 else 0.0
        expected = adam(start, [make_gradients(0)[name]], [0.01], decay)
        np.testing.assert_allclose(variables[name].numpy(), expected, rtol=2e-5, atol=1e-6)


def test_sgd_with_and_without_momentum() -> None:
    for momentum in (0.0, 0.9):
        variables = make_variables()
        starts = {name: variable.numpy() for name, variable in variables.items()}
        optimizer = GroupedOptimizer(
            variables, defaults=Defaults("sgd", learning_rate=0.1, momentum=momentum)
        )
        for step in range(3):
            apply(optimizer, step)
        for name, start in starts.items():
            expected = sgd(start, [make_gradients(step)[name] for step in range(3)], [0.1] * 3, momentum)
            np.testing.assert_allclose(variables[name].numpy(), expected, rtol=2e-5, atol=1e-6)


def test_the_first_group_wins_and_frozen_variables_stay() -> None:
    variables = make_variables()
    starts = {name: variable.numpy() for name, variable in variables.items()}
    groups = [Group("text_.*", multiple=3.0), Group("image_.*", multiple=2.0), Group(".*", multiple=5.0)]
    freeze(variables, "image")
    optimizer = GroupedOptimizer(variables, groups, Defaults(learning_rate=0.5))
    assert optimizer.trainable_names == ["text_encoder/words/embeddings", "text_encoder/lstm/bias"]
    assert optimizer.rates() == {"adam_lr3.0x": 1.5}
    optimizer.apply({name: make_gradients(0)[name] for name in optimizer.trainable_names})
    moved = {name for name in variables if not np.array_equal(variables[name].numpy(), starts[name])}
    assert moved == set(optimizer.trainable_names)


def test_variables_that_are_not_trainable_are_left_alone() -> None:
    variables = make_variables()
    variables["image_head/norm/moving_mean"] = keras.Variable(np.zeros(4, "float32"), trainable=False)
    assert "image_head/norm/moving_mean" not in GroupedOptimizer(variables).trainable_names


def test_restored_slots_continue_bit_for_bit() -> None:
    groups = [Group("image_backbone/.*", optimizer="sgd"), Group("text_encoder/.*", multiple=0.3)]
    whole, half = make_variables(), make_variables()
    first, second = (GroupedOptimizer(v, groups, Defaults(weight_decay=0.01)) for v in (whole, half))
    for step in range(4):
        apply(first, step)
    for step in range(2):
        apply(second, step)
    saved = {name: variable.numpy() for name, variable in second.variables.items()}
    cut = {name: keras.Variable(variable.numpy()) for name, variable in half.items()}
    third = GroupedOptimizer(cut, groups, Defaults(weight_decay=0.01))
    assert set(third.variables) == set(saved)
    for name, variable in third.variables.items():
        assert variable.shape == saved[name].shape
        variable.assign(saved[name])
    for step in range(2, 4):
        apply(third, step)
    for name, variable in whole.items():
        np.testing.assert_array_equal(cut[name].numpy(), variable.numpy(), err_msg=name)


def test_slots_are_named_after_their_variables() -> None:
    optimizer = GroupedOptimizer(make_variables(), [Group("text.*", optimizer="sgd")], name="joint")
    names = set(optimizer.variables)
    assert "joint/image_backbone/conv/kernel/velocity" in names
    assert "joint/text_encoder/lstm/bias/momentum" in names
    assert "joint/text_encoder/lstm/bias/velocity" not in names
    assert {"joint/adam/iteration", "joint/sgd_m0.9/iteration"} <= names


def test_it_runs_compiled_and_follows_the_rate_without_retracing() -> None:
    variables = make_variables()
    optimizer = GroupedOptimizer(variables, defaults=Defaults("sgd", learning_rate=1.0, momentum=0.0))
    traces = []

    @tf.function
    def step() -> None:
        traces.append(1)
        optimizer.apply({name: tf.ones(shape) for name, shape in SHAPES.items()})

    before = variables["text_encoder/lstm/bias"].numpy()
    for rate in (1.0, 0.5, 0.25):
        optimizer.set_rate(rate)
        step()
    np.testing.assert_allclose(variables["text_encoder/lstm/bias"].numpy(), before - 1.75, rtol=1e-6)
    assert len(traces) == 1


def test_a_gradient_of_looked_up_rows_equals_the_dense_one() -> None:
    table = keras.Variable(np.ones((6, 2), "float32"))
    optimizer = GroupedOptimizer({"words/embeddings": table}, defaults=Defaults(learning_rate=0.1))
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(tf.gather(table.value, [1, 3, 3]))
    optimizer.apply({"words/embeddings": tape.gradient(loss, table.value)})
    dense = np.array([[0, 0], [1, 1], [0, 0], [2, 2], [0, 0], [0, 0]], "float32")
    np.testing.assert_allclose(table.numpy(), adam(np.ones((6, 2)), [dense], [0.1]), rtol=1e-5)


def test_a_missing_gradient_is_an_error_unless_declared() -> None:
    variables = make_variables()
    gradients: dict[str, tf.Tensor | None] = {name: tf.ones(shape) for name, shape in SHAPES.items()}
    gradients["text_encoder/lstm/bias"] = None
    with pytest.raises(UserError, match="text_encoder/lstm/bias"):
        GroupedOptimizer(variables).apply(gradients)
    before = variables["text_encoder/lstm/bias"].numpy()
    GroupedOptimizer(variables, unused=[".*/lstm/.*"]).apply(gradients)
    np.testing.assert_array_equal(variables["text_encoder/lstm/bias"].numpy(), before)


def test_a_phase_may_update_some_variables_and_leave_the_others() -> None:
    variables = make_variables()
    starts = {name: variable.numpy() for name, variable in variables.items()}
    image = {name: variable for name, variable in variables.items() if name.startswith("image")}
    groups = [Group("text_encoder/.*", multiple=2.0)]
    with pytest.raises(UserError, match="matches no variable"):
        GroupedOptimizer(image, groups)
    optimizer = GroupedOptimizer(image, groups, name="encoders", known=variables)
    optimizer.apply({name: make_gradients(0)[name] for name in image})
    moved = {name for name in variables if not np.array_equal(variables[name].numpy(), starts[name])}
    assert moved == set(image)
    assert all(name.startswith("encoders/") for name in optimizer.variables)


def test_a_gradient_of_a_frozen_variable_is_a_mistake() -> None:
    variables = make_variables()
    freeze(variables, "text")
    optimizer = GroupedOptimizer(variables)
    with pytest.raises(KeyError, match="text_encoder"):
        apply(optimizer, 0)


def test_bad_settings_are_explained() -> None:
    with pytest.raises(UserError, match="'heads' matches no variable"):
        GroupedOptimizer(make_variables(), [Group("heads")])
    variables = make_variables()
    freeze(variables, "")
    with pytest.raises(UserError, match="nothing to train"):
        GroupedOptimizer(variables)
    with pytest.raises(UserError, match="adam, adamw, sgd"):
        GroupedOptimizer(make_variables(), defaults=Defaults("lion"))


REPLICAS = """
import numpy as np, keras, tensorflow as tf
from xmkeras.training.groups import Group
from xmkeras.training.optimizers import Defaults, GroupedOptimizer

cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
start = np.arange(6, dtype="float32").reshape(3, 2)
groups = [Group("b/.*", optimizer="sgd", multiple=0.5)]
finals = []
for strategy in (tf.distribute.get_strategy(), tf.distribute.MirroredStrategy(["/cpu:0", "/cpu:1"])):
    with strategy.scope():
        variables = {name: keras.Variable(start) for name in ("a/kernel", "b/kernel")}
        optimizer = GroupedOptimizer(variables, groups, Defaults(learning_rate=0.1, weight_decay=0.2))

    @tf.function
    def step(strategy=strategy, optimizer=optimizer):
        def replica():
            share = 1.0 / strategy.num_replicas_in_sync
            optimizer.apply({name: share * tf.constant(start) for name in ("a/kernel", "b/kernel")})
        strategy.run(replica)

    for rate in (0.1, 0.05, 0.01):
        optimizer.set_rate(rate)
        step()
    finals.append([variable.numpy() for variable in (*variables.values(), *optimizer.variables.values())])
for one, two in zip(*finals, strict=True):
    np.testing.assert_allclose(one, two, rtol=1e-6)
print("equal")
"""


def test_two_replicas_that_hold_half_a_gradient_each_equal_one_device() -> None:
    done = subprocess.run([sys.executable, "-c", REPLICAS], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "equal", done.stderr[-2000:]
