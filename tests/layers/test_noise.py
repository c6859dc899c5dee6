"""Dropout and word dropout: what they drop, when, and the names of their state."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from xmkeras.layers import Dropout, WordDropout

IDS = np.tile(np.array([[2, 1, 3, 4, 5, 0]], "int32"), (500, 1))


def test_words_become_unknown_at_the_rate_and_special_ids_stay():
    dropped = WordDropout(0.3)(IDS, training=True).numpy()
    np.testing.assert_array_equal(dropped[:, [0, 1, 5]], IDS[:, [0, 1, 5]])
    words = dropped[:, 2:5]
    assert set(np.unique(words)) == {1, 3, 4, 5}
    assert abs((words == 1).mean() - 0.3) < 0.05


def test_dropout_keeps_the_expectation():
    x = np.ones((200, 10, 8), "f4")
    y = Dropout(0.25)(x, training=True).numpy()
    assert set(np.round(np.unique(y), 4)) == {0, np.float32(1.3333)}
    assert abs(y.mean() - 1) < 0.05


def test_time_constant_dropout_drops_whole_features():
    y = Dropout(0.5, time_constant=True)(np.ones((4, 7, 32), "f4"), training=True).numpy()
    assert (y == y[:, :1]).all()
    assert 0 < (y == 0).mean() < 1


@pytest.mark.parametrize(("layer", "x"), [(Dropout(0.5), np.ones((3, 4), "f4")), (WordDropout(0.5), IDS)])
def test_nothing_is_dropped_outside_training(layer, x):
    np.testing.assert_array_equal(layer(x, training=False).numpy(), x)
    np.testing.assert_array_equal(layer(x).numpy(), x)


def test_equal_seeds_repeat_and_steps_differ():
    first, second = WordDropout(0.5, seed=3), WordDropout(0.5, seed=3)
    a, b = first(IDS, training=True).numpy(), second(IDS, training=True).numpy()
    np.testing.assert_array_equal(a, b)
    assert (first(IDS, training=True).numpy() != a).any()
    assert (WordDropout(0.5, seed=4)(IDS, training=True).numpy() != a).any()


def test_state_is_named_by_the_layer():
    keras.layers.Dropout(0.1)
    assert [v.path for v in Dropout(0.1, name="features").variables] == ["features/seed_generator_state"]


@pytest.mark.parametrize("layer", [Dropout(0.2, time_constant=True, seed=5), WordDropout(0.2, unknown=9, first_word=4)])
def test_configuration_round_trip(layer):
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    assert again.get_config() == layer.get_config()


@pytest.mark.parametrize("rate", [-0.1, 1.0])
def test_a_rate_outside_its_range_is_refused(rate):
    with pytest.raises(ValueError, match=r"\[0, 1\)"):
        Dropout(rate)
