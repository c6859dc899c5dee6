"""What is said of a model that has learnt nothing."""

from __future__ import annotations

import numpy as np
import pytest

from xmkeras.retrieval import verdict


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("rsum", 25.3, "rsum is 25.3, and a random order has 38.6"),
        ("rsum", 38.6, "the model has learnt nothing"),
        ("rsum", 38.7, ""),
        ("text_to_image/mean_rank", 12.0, ""),
        ("text_to_image/mean_rank", 99.0, "text_to_image/mean_rank is 99.0"),
        ("NMI", 0.0, ""),
    ],
)
def test_a_figure_beside_chance(name, value, said):
    chance = {"chance/rsum": 38.6, "chance/text_to_image/mean_rank": 40.0}
    spoken = verdict.at_chance({name: value, **chance}, name)
    assert said in spoken
    assert bool(said) == bool(spoken)


def test_embeddings_that_are_nearly_equal():
    noise = np.random.default_rng(0).normal(size=(3000, 16))
    assert verdict.all_alike("image", noise) == ""
    assert "of the images are nearly equal (mean cosine 1.0000)" in verdict.all_alike("image", 1e4 + noise)
    assert "texts are nearly equal" in verdict.all_alike("text", np.zeros((5, 3)))
    assert verdict.all_alike("image", 1e4 + noise, "euclidean") == ""
    assert verdict.all_alike("image", np.ones((1, 3))) == ""
    exact = noise[:40] / np.linalg.norm(noise[:40], axis=1, keepdims=True) * 0.03 + np.eye(16)[0]
    cosines = np.array([[a @ b / np.linalg.norm(a) / np.linalg.norm(b) for a in exact] for b in exact])
    mean = cosines[~np.eye(40, dtype=bool)].mean()
    assert mean > 0.999
    assert f"{mean:.4f}" in verdict.all_alike("image", exact)
