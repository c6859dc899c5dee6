"""What every loss promises: a float32 number and finite gradients, whatever the batch and its precision."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from tests.losses.cases import CASES, CLASSES, WITHOUT_GRADIENT
from tests.losses.checks import DTYPES, MANY_SHAPES, agree, value_and_gradients
from xmkeras import losses


def random_batch(n: int, norm: float = 1.0):
    random = np.random.default_rng(0)
    sides = random.normal(0, 1, (2, n, CLASSES))
    return norm * sides / np.linalg.norm(sides, axis=2, keepdims=True)


BATCHES = {
    "random": (random_batch(6), [0, 0, 1, 1, 2, 3]),
    "one class": (random_batch(5), [2] * 5),
    "all classes different": (random_batch(5), [4, 1, 0, 2, 3]),
    "one pair": (random_batch(1), [3]),
    "zero vectors": (np.zeros((2, 4, CLASSES)), [0, 0, 1, 1]),
    "equal vectors": (np.ones((2, 4, CLASSES)), [0, 0, 1, 1]),
    "some zero vectors": (random_batch(4) * [[[1], [0], [1], [0]]], [0, 0, 1, 1]),
    "long vectors": (random_batch(6, 1e4), [0, 0, 1, 1, 2, 3]),
    "long vectors of one class": (random_batch(4, 1e4), [1] * 4),
    "short vectors": (random_batch(6, 1e-4), [0, 0, 1, 1, 2, 3]),
}

IN_HALF_PRECISION = ("random", "zero vectors", "some zero vectors", "long vectors", "short vectors")
TRIED = BATCHES if MANY_SHAPES else ("some zero vectors",)


def test_every_public_name_has_a_row():
    named = {name.split()[0] for name in CASES}
    assert named | WITHOUT_GRADIENT == set(losses.__all__)


@pytest.mark.parametrize("name", CASES)
def test_values_and_gradients_are_finite(name):
    for batch in TRIED:
        (image, text), labels = BATCHES[batch]
        for dtype in DTYPES if MANY_SHAPES and batch in IN_HALF_PRECISION else DTYPES[:1]:
            sides = [keras.ops.convert_to_tensor(side.astype("f4"), dtype) for side in (image, text)]
            labels = np.array(labels)
            value, gradients = value_and_gradients(lambda x, z, y=labels: CASES[name].loss(x, z, y), *sides)
            assert value.shape == (), (batch, dtype)
            assert value.dtype == np.float32, (batch, dtype)
            assert np.isfinite(value), (batch, dtype)
            largest = max(np.abs(gradient).max() for gradient in gradients)
            if dtype == "float32":
                in_float32 = largest
            # A true gradient beyond float16's range is infinite there: losses are scaled for that reason.
            assert np.isfinite(largest) or (dtype == "float16" and 6e4 < in_float32 < np.inf), (batch, dtype)


@pytest.mark.parametrize("name", CASES)
def test_empty_tasks_have_the_stated_value(name):
    case = CASES[name]
    for batch, expected in (("one pair", case.alone), ("one class", case.one_class), ("zero vectors", case.zeros)):
        if expected is not None:
            (image, text), labels = BATCHES[batch]
            agree(case.loss(image.astype("f4"), text.astype("f4"), np.array(labels)), expected, atol=2e-6)


@pytest.mark.skipif(not MANY_SHAPES, reason="JAX has 32 bit integers only")
@pytest.mark.parametrize("name", CASES)
def test_labels_of_any_integer_type_give_the_same(name):
    image, text = random_batch(6).astype("f4")
    values = [CASES[name].loss(image, text, np.array([0, 0, 1, 1, 2, 3], t)) for t in ("int32", "int64")]
    agree(values[1], values[0])
