"""Devices: what --devices means, and its mistakes. Replicas themselves are tested in tests/conformance."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from xmkeras.errors import UserError
from xmkeras.training import strategy


def test_auto_takes_what_there_is():
    made = strategy.make_strategy("auto")
    assert made.num_replicas_in_sync == max(1, len(tf.config.list_physical_devices("GPU")))
    assert strategy.is_gpu(made) == bool(tf.config.list_physical_devices("GPU"))


@pytest.mark.parametrize("devices", ["many", "0", "cpu:0", "cpu:x", "-1", ""])
def test_a_bad_value_names_the_choices(devices: str):
    with pytest.raises(UserError, match="cpu:N"):
        strategy.make_strategy(devices)


def test_more_gpus_than_there_are():
    with pytest.raises(UserError, match="asks for 512 GPUs but TensorFlow sees"):
        strategy.make_strategy("512")


@pytest.mark.parametrize(
    ("cluster", "sentence"),
    [
        ('{"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": 0}}', "several workers"),
        ("{", "no JSON object"),
    ],
)
def test_several_workers_are_refused(cluster: str, sentence: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TF_CONFIG", cluster)
    with pytest.raises(UserError, match=f"TF_CONFIG.*{sentence}.*unset it"):
        strategy.make_strategy("cpu")


def test_a_cluster_of_one_worker_is_this_machine(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TF_CONFIG", '{"cluster": {"worker": ["a:1"]}}')
    assert strategy.make_strategy("cpu").num_replicas_in_sync == 1


def test_an_update_stands_under_its_condition():
    total = tf.Variable(0.0)

    @tf.function
    def step(condition: tf.Tensor):
        tf.distribute.get_strategy().run(strategy.run_if, args=(condition, total.assign_add, tf.constant(2.0)))

    for condition, expected in ((True, 2), (False, 2), (True, 4)):
        step(tf.constant(condition))
        assert float(total) == expected


def test_one_replica_gathers_and_sums_nothing():
    values = {"a": tf.constant([1.0, 2.0])}

    def replica():
        assert strategy.replicas_in_context() == 1
        return strategy.gather(values)["a"], strategy.sum_over_replicas([values["a"]])[0]

    gathered, summed = tf.distribute.get_strategy().run(replica)
    np.testing.assert_array_equal(gathered, [1, 2])
    np.testing.assert_array_equal(summed, [1, 2])


def test_threads_stay_as_they_are_once_tensorflow_runs(caplog: pytest.LogCaptureFixture):
    before = tf.config.threading.get_intra_op_parallelism_threads()
    tf.constant(0)  # from here on TensorFlow runs
    strategy.set_threads(before + 7)
    assert tf.config.threading.get_intra_op_parallelism_threads() == before
    assert "--intra_op_threads" in caplog.text
