"""NMI: the vectors, the loop twin, scikit-learn; and k-means with a fixed seed."""

import json
import pathlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.reference import ranking as reference
from xmkeras.retrieval.clustering import k_means, normalised_mutual_information

VECTORS = json.loads((pathlib.Path(__file__).parent.parent / "vectors.json").read_text())["zero_shot_metrics"]


@pytest.mark.parametrize("average", ["arithmetic", "geometric"])
def test_nmi_agrees_with_the_vectors(average):
    inputs = VECTORS["inputs"]
    found = normalised_mutual_information(inputs["labels"], inputs["clusters"], average=average)
    assert found == pytest.approx(VECTORS["expected"][f"nmi_{average}"], abs=1e-8)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(-2, 1)), min_size=1, max_size=12))
def test_nmi_equals_the_loop_twin_and_scikit_learn(pairs):
    labels, clusters = (list(side) for side in zip(*pairs, strict=True))
    sklearn_metrics = pytest.importorskip("sklearn.metrics")
    for average in ("arithmetic", "geometric"):
        found = normalised_mutual_information(labels, clusters, average=average)
        assert found == pytest.approx(reference.mutual_information(labels, clusters, average), abs=1e-9)
        oracle = sklearn_metrics.normalized_mutual_info_score(labels, clusters, average_method=average)
        assert found == pytest.approx(oracle, abs=1e-9)


def test_clusters_that_are_apart_are_found_and_a_seed_repeats_them():
    generator = np.random.default_rng(0)
    labels = np.arange(60) % 3
    vectors = 10 * np.eye(3)[labels] + generator.standard_normal((60, 3))
    clusters = k_means(vectors, 3)
    assert normalised_mutual_information(labels, clusters) == pytest.approx(1)
    noise = generator.standard_normal((60, 3))
    np.testing.assert_array_equal(k_means(noise, 7, seed=3, n_init=2), k_means(noise, 7, seed=3, n_init=2))


def test_what_cannot_be_compared_is_refused():
    with pytest.raises(ValueError, match="2 labels and 1 clusters"):
        normalised_mutual_information([0, 1], [0])
    with pytest.raises(ValueError, match="at least one"):
        normalised_mutual_information([], [])
    with pytest.raises(ValueError, match="'harmonic'"):
        normalised_mutual_information([0], [0], average="harmonic")
