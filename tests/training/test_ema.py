"""Moving averages of the weights against a literal loop."""

from __future__ import annotations

import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from xmkeras.training.ema import MovingAverage


def make_variables() -> dict[str, keras.Variable]:
    return {
        "kernel": keras.Variable(np.array([[1.0, -2.0]], "float32")),
        "norm/moving_mean": keras.Variable(np.array([0.5], "float32"), trainable=False),
        "seed": keras.Variable(np.array([1, 2], "uint32"), trainable=False, dtype="uint32"),
    }


@pytest.mark.parametrize("decay", [0.0, 0.5, 0.9999])
def test_updates_equal_a_loop_with_the_warm_up(decay: float) -> None:
    variables = make_variables()
    average = MovingAverage(variables, decay)
    update = tf.function(average.update)
    kernel = np.array([[1.0, -2.0]])
    for t in range(30):
        value = np.array([[np.sin(t), np.cos(t)]])
        variables["kernel"].assign(value)
        update()
        share = min(decay, (1 + t) / (10 + t))
        kernel = share * kernel + (1 - share) * value
    np.testing.assert_allclose(average.variables["kernel"].numpy(), kernel, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(average.variables["norm/moving_mean"].numpy(), [0.5])
    assert average.variables["updates"].numpy() == 30


def test_only_floating_point_variables_are_averaged() -> None:
    assert set(MovingAverage(make_variables(), 0.9).variables) == {"kernel", "norm/moving_mean", "updates"}


def test_bfloat16_weights_are_averaged_in_float32() -> None:
    variables = {"kernel": keras.Variable(np.ones(2), dtype="bfloat16")}
    average = MovingAverage(variables, 0.999)
    variables["kernel"].assign([2.0, 2.0])
    for _ in range(2):
        average.update()
    assert average.variables["kernel"].dtype == tf.float32
    first = 1 + 0.9 * 1
    second = first + (1 - 2 / 11) * (2 - first)
    np.testing.assert_allclose(average.variables["kernel"].numpy(), [second] * 2, rtol=1e-6)


def test_the_averages_stand_in_for_the_weights_and_leave_no_trace() -> None:
    variables = make_variables()
    average = MovingAverage(variables, 0.9)
    weights = np.array([[0.1, 1e-30]], "float32")
    variables["kernel"].assign(weights)
    average.update()
    inside = average.variables["kernel"].numpy()
    with average.averaged():
        np.testing.assert_array_equal(variables["kernel"].numpy(), inside)
        assert not np.array_equal(inside, weights)
    np.testing.assert_array_equal(variables["kernel"].numpy(), weights)
    np.testing.assert_array_equal(average.variables["kernel"].numpy(), inside)
    with pytest.raises(RuntimeError, match="evaluation"), average.averaged():
        raise RuntimeError("evaluation fails")
    np.testing.assert_array_equal(variables["kernel"].numpy(), weights)


def test_a_restored_average_continues_bit_for_bit() -> None:
    def run(variables: dict[str, keras.Variable], average: MovingAverage, steps: range) -> None:
        for t in steps:
            variables["kernel"].assign(np.array([[np.sin(t), t]]))
            average.update()

    whole, cut = make_variables(), make_variables()
    first, second = MovingAverage(whole, 0.99), MovingAverage(cut, 0.99)
    run(whole, first, range(6))
    run(cut, second, range(3))
    saved = {name: variable.numpy() for name, variable in second.variables.items()}
    third = MovingAverage(cut, 0.99)
    for name, variable in third.variables.items():
        variable.assign(saved[name])
    run(cut, third, range(3, 6))
    for name, variable in first.variables.items():
        np.testing.assert_array_equal(third.variables[name].numpy(), variable.numpy())


@pytest.mark.parametrize("decay", [1.0, -0.1, float("nan")])
def test_a_decay_out_of_its_range_is_refused(decay: float) -> None:
    with pytest.raises(ValueError, match="decay"):
        MovingAverage(make_variables(), decay)


REPLICAS = """
import numpy as np, keras, tensorflow as tf
from xmkeras.training.ema import MovingAverage

cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
strategy = tf.distribute.MirroredStrategy(["/cpu:0", "/cpu:1"])
with strategy.scope():
    variable = keras.Variable(np.ones(3, "float32"))
    average = MovingAverage({"w": variable}, 0.9)

@tf.function
def after_the_step():
    average.update()

@tf.function
def in_each_replica():
    strategy.run(average.update)

expected = np.ones(3)
for t, update in enumerate((after_the_step, in_each_replica)):
    variable.assign(np.full(3, 5.0 + t))
    update()
    share = min(0.9, (1 + t) / (10 + t))
    expected = share * expected + (1 - share) * (5.0 + t)
for copy in strategy.experimental_local_results(average.variables["w"]):
    np.testing.assert_allclose(copy.numpy(), expected, rtol=1e-6)
with average.averaged():
    for copy in strategy.experimental_local_results(variable.value):
        np.testing.assert_allclose(copy.numpy(), expected, rtol=1e-6)
for copy in strategy.experimental_local_results(variable.value):
    np.testing.assert_array_equal(copy.numpy(), np.full(3, 6.0))
print(int(average.variables["updates"].numpy()))
"""


def test_replicas_hold_the_same_average() -> None:
    done = subprocess.run([sys.executable, "-c", REPLICAS], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "2", done.stderr[-2000:]
