"""Which step stops a run, and the sentence that says so."""

from __future__ import annotations

import pathlib

import numpy as np
import pytest
import tensorflow as tf

from xmkeras.errors import UserError
from xmkeras.training.checkpoints import Checkpoints
from xmkeras.training.finite import FiniteCheck, Taken, scalars

NAMES = [f"part/layer_{number}/kernel" for number in range(5)]


def taken(step: int = 1, *, broken: tuple[int, ...] = (), rows: tuple[int, ...] = (), **numbers: float) -> Taken:
    values = {"loss": 1.0, "distance": 1.0, "gradient_norm": np.inf if broken else 1.0, "gap/mean": np.nan} | numbers
    results = {name: tf.constant(value, tf.float32) for name, value in values.items()}
    results["finite_gradients"] = tf.constant([number not in broken for number in range(5)])
    results["finite_rows"] = tf.constant([row not in rows for row in range(4)])
    return Taken(step, results, NAMES, [tf.constant([10, 11]), tf.constant([12, 13])])


@pytest.mark.parametrize(
    ("step", "fault", "culprits"),
    [
        (taken(loss=np.nan, distance=np.inf, broken=(1,)), "distance", [10, 11, 12, 13]),
        (taken(loss=np.nan, rows=(1, 2)), "loss", [11, 12]),
        (taken(broken=(2,)), "the gradient of part/layer_2/kernel", [10, 11, 12, 13]),
        (taken(broken=(0, 1, 2, 4)), f"the gradient of {', '.join(NAMES[:3])} and 1 more", [10, 11, 12, 13]),
        (taken(gradient_norm=np.inf), f"the gradient of {', '.join(NAMES[:3])} and 2 more", [10, 11, 12, 13]),
    ],
)
def test_the_fault_and_its_rows_are_named(step: Taken, fault: str, culprits: list[int]):
    assert not step.finite
    assert step.fault() == fault
    assert step.culprits().tolist() == culprits


def test_a_gauge_may_be_what_it_likes():
    assert taken().finite
    assert np.isnan(scalars(taken().results)["gap/mean"])
    assert set(scalars(taken().results)) == {"loss", "distance", "gradient_norm", "gap/mean"}


def test_an_overflow_of_float16_goes_by_until_the_scale_is_least():
    assert taken(broken=(1,), **{"scale/loss": 2.0}).finite
    assert not taken(broken=(1,), **{"scale/loss": 1.0}).finite
    assert not taken(loss=np.nan, **{"scale/loss": 2.0}).finite


def test_the_first_step_stops_the_run_once(tmp_path: pathlib.Path):
    checkpoints = Checkpoints(tmp_path)
    check = FiniteCheck(checkpoints, lambda rows: f"{len(rows)} rows", "--learning_rate=1e-5")
    check.add(taken(1))
    check.check()
    for step in (taken(2), taken(3, broken=(0,)), taken(4, loss=np.nan)):
        check.add(step)
    with pytest.raises(UserError, match=r"^Step 3: the gradient of part/layer_0/kernel .*4 rows; no checkpoint"):
        check.check()
    checkpoints.save(2, {"a": np.ones(1)}, {})
    with pytest.raises(UserError, match=r"of step 2, is whole: mend those rows .* --init_from=.* --learning_rate=1e-5"):
        check.check()
