"""Energy confusion: exact numbers, loop twins, and what its draws estimate."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.losses.checks import (
    agree,
    array,
    difference_quotients,
    dtypes,
    random_batches,
    random_sides,
    seeds,
    sizes,
    value_and_gradients,
    vectors,
)
from tests.reference import pairwise
from xmkeras.losses import energy_confusion

X, LABELS, EXPECTED = vectors("energy_confusion", "embeddings", "labels")


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("mean_over_all_negative_pairs", {}),
        ("mean_over_class_pairs", {"average": "classes"}),
        ("half_mean_all_neg", {"half": True}),
        ("log_of_half_mean", {"half": True, "log": True}),
    ],
)
def test_agrees_with_the_published_numbers(name, options):
    agree(energy_confusion(X, LABELS, **options), EXPECTED[name])


def test_one_pair_of_classes_agrees():
    agree(energy_confusion(X[:4], LABELS[:4]), EXPECTED["per_class_pair"][0])


@given(
    seed=seeds, n=sizes, m=sizes, dtype=dtypes, classes=st.integers(1, 4), alone=st.booleans(), by_class=st.booleans()
)
@random_batches
def test_agrees_with_the_loops(seed, n, m, dtype, classes, alone, by_class):
    (queries, q), (references, r), labels, others = random_sides(seed, n, m, 4, classes, dtype)
    sides, twins = ((), ()) if alone else ((references, others), (r, others))
    got = energy_confusion(queries, labels, *sides, average="classes" if by_class else "pairs")
    if by_class:
        want = pairwise.energy_between_classes(q, labels, *(twins or (q, labels)))
    else:
        want = pairwise.energy(q, labels, *twins)
    agree(got, want, 2e-5, 2e-5)


def test_gradients_agree_with_differences_of_the_loops():
    _, (got,) = value_and_gradients(lambda x: energy_confusion(x, LABELS), X.astype("f4"))
    (want,) = difference_quotients(lambda x: pairwise.energy(x, LABELS), X)
    agree(got, want, 1e-4, 1e-5)
    _, (of_log,) = value_and_gradients(lambda x: energy_confusion(x, LABELS, log=True), X.astype("f4"))
    agree(of_log, want / pairwise.energy(X, LABELS), 1e-4, 1e-5)


def test_draws_estimate_the_exact_energy_and_follow_their_seed():
    sampled = energy_confusion(X, LABELS, mode="sampled", samples=4000, seed=0)
    agree(sampled, EXPECTED["mean_over_all_negative_pairs"], rtol=0.05)
    draws = [float(array(energy_confusion(X, LABELS, mode="sampled", samples=3, seed=seed))) for seed in (1, 1, 2)]
    assert draws[0] == draws[1] != draws[2]
    generator = keras.random.SeedGenerator(1)
    fresh = [float(array(energy_confusion(X, LABELS, mode="sampled", samples=3, seed=generator))) for _ in range(2)]
    assert fresh[0] != fresh[1]


def test_later_draws_skip_the_neighbour_and_count_its_class_on_its_own():
    # From row 0 only rows 2 (another class) and 3 (the same class) can be drawn, from row 1 only row 3.
    x, labels = np.array([[0.0], [100.0], [1.0], [3.0]]), [0, 1, 1, 0]
    draws = {round(float(array(energy_confusion(x, labels, mode="later", samples=2000, seed=s))), 3) for s in range(3)}
    share = 2 / 3  # of the negatives drawn, those of row 1
    for drawn in draws:
        assert abs(drawn - (9 + share * 97**2 + (1 - share))) < 500
    twin = energy_confusion(np.zeros((2, 1)), [0, 1], mode="later", seed=0)
    agree(twin, 0)


@pytest.mark.parametrize("options", [{"mode": "all"}, {"average": "samples"}])
def test_unknown_choices_are_named(options):
    with pytest.raises(ValueError, match="must be one of"):
        energy_confusion(X, LABELS, **options)
