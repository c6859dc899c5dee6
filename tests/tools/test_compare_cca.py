"""The comparison ranks the baseline exactly as the baseline measures itself."""

from __future__ import annotations

import numpy as np
import pytest

from tools import cca_baseline, compare_cca


@pytest.mark.parametrize("seed", range(3))
def test_ranks_of_scores_give_the_baselines_own_recalls(seed: int):
    generator = np.random.default_rng(seed)
    owner = np.repeat(np.arange(20), 5)
    scores = generator.integers(-20, 20, (100, 20)) / 8.0  # exact in any float, with ties
    scores[np.arange(100), owner] += 1
    found = compare_cca.recalls_of(compare_cca.ranks_of(scores, owner))
    expected = cca_baseline.recalls(scores, owner)
    assert found == pytest.approx({name: expected[name] for name in found})
