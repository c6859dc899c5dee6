"""Learning rate schedules against their closed forms."""

from __future__ import annotations

import json
import math

import pytest

from xmkeras.errors import UserError
from xmkeras.training.schedules import NAMES, build_schedule


@pytest.mark.parametrize("name", NAMES)
def test_warm_up_climbs_linearly_to_the_full_rate(name: str) -> None:
    schedule = build_schedule(name, learning_rate=0.4, warmup_steps=4, total_steps=100)
    assert [schedule.rate(step) for step in range(5)] == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.4])


def test_a_run_shorter_than_its_warm_up_ends_inside_it() -> None:
    schedule = build_schedule("cosine", learning_rate=1.0, warmup_steps=10, total_steps=2)
    assert [schedule.rate(step) for step in range(3)] == pytest.approx([0.1, 0.2, 0.3])


def test_constant_never_falls() -> None:
    schedule = build_schedule("constant", learning_rate=2e-4, total_steps=10)
    assert {schedule.rate(step) for step in range(30)} == {2e-4}


def test_cosine_follows_its_formula_and_stays_at_its_end() -> None:
    schedule = build_schedule("cosine", learning_rate=3.0, warmup_steps=10, total_steps=110, final=0.1)
    for step in (10, 35, 60, 85, 110):
        expected = 3.0 * (0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * (step - 10) / 100)))
        assert schedule.rate(step) == pytest.approx(expected)
    assert schedule.rate(500) == pytest.approx(0.3)


def test_cosine_ends_at_zero_by_default() -> None:
    assert build_schedule("cosine", learning_rate=1.0, total_steps=7).rate(7) == pytest.approx(0.0)


def test_step_falls_at_its_milestones() -> None:
    schedule = build_schedule("step", learning_rate=1.0, warmup_steps=2, total_steps=20, milestones=(0.5, 0.8))
    rates = [schedule.rate(step) for step in (9, 10, 15, 16, 40)]
    assert rates == pytest.approx([1.0, 0.1, 0.1, 0.01, 0.01])


def test_exponential_falls_by_its_factor_every_decay_steps() -> None:
    schedule = build_schedule("exponential", learning_rate=2.0, total_steps=1000, factor=0.5, decay_steps=10)
    assert [schedule.rate(step) for step in (0, 5, 10, 30)] == pytest.approx([2.0, 2 * 0.5**0.5, 1.0, 0.25])
    default = build_schedule("exponential", learning_rate=1.0, total_steps=1000)
    assert default.rate(20) == pytest.approx(0.94**2)


def test_plateau_falls_after_patience_evaluations_without_gain() -> None:
    schedule = build_schedule("plateau", learning_rate=1.0, total_steps=10, patience=2, factor=0.1, final=0.05)
    rates = []
    for metric in (10, 12, 12, 11, 13, 13, 13, 14):
        schedule.observe(metric)
        rates.append(schedule.rate(100))
    assert rates == pytest.approx([1, 1, 1, 0.1, 0.1, 0.1, 0.05, 0.05])


def test_plateau_continues_from_its_saved_state() -> None:
    def fresh() -> object:
        return build_schedule("plateau", learning_rate=1.0, total_steps=10, patience=3)

    metrics = [1.0, 0.5, 0.7, 0.9, 2.0, 1.0, 1.0, 1.0]
    whole = fresh()
    for metric in metrics:
        whole.observe(metric)
    first, second = fresh(), fresh()
    for metric in metrics[:3]:
        first.observe(metric)
    second.restore(json.loads(json.dumps(first.state())))
    for metric in metrics[3:]:
        second.observe(metric)
    assert second.state() == whole.state()
    assert second.rate(9) == whole.rate(9) == pytest.approx(0.01)


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({"name": "linear"}, "cosine"),
        ({"learning_rate": 0.0}, "positive"),
        ({"learning_rate": math.nan}, "positive"),
        ({"warmup_steps": -1}, "warm-up"),
        ({"total_steps": 0}, "run of 0"),
        ({"patience": 3}, "patience"),
    ],
)
def test_bad_settings_are_explained(settings: dict, word: str) -> None:
    arguments = {"name": "cosine", "learning_rate": 1e-3, "total_steps": 10, **settings}
    with pytest.raises(UserError, match=word):
        build_schedule(**arguments)
