"""SCAN, BFAN and late interaction against the published numbers and the loop twins, and their gradients."""

from __future__ import annotations

import itertools

import keras
import numpy as np
import pytest

from tests.losses.checks import agree, array, value_and_gradients, vectors
from tests.reference import cross_attention as reference
from tests.reference import hinges
from xmkeras import losses

IMAGES, CAPTIONS, LENGTHS, EXPECTED = vectors("scan", "images", "captions", "lengths")
MASK = np.arange(4) < LENGTHS[:, None]
BFAN = vectors("bfan")[0]


def examples(images: int = 4, captions: int = 4, regions: int = 5, dim: int = 6, seed: int = 0, shortest: int = 1):
    """Unit regions and ragged captions of 1 to 6 unit words, padded with rubbish, their mask, and both as lists."""
    random = np.random.default_rng(seed)
    lengths = np.array([shortest, *random.integers(1, 7, captions - 1)])
    mask = np.arange(6) < lengths[:, None]
    sides = [random.normal(size=(*shape, dim)) for shape in ((images, regions), (captions, 6))]
    x, z = (side / np.linalg.norm(side, axis=-1, keepdims=True) for side in sides)
    ragged = [own[:length] for own, length in zip(z, lengths, strict=True)]
    return x, np.where(mask[..., None], z, 7.0), mask, list(x), ragged


@pytest.mark.parametrize(
    ("key", "options"),
    [
        ("t2i_mean_l9", {}),
        ("t2i_lse_l9_lse6", {"pooling": "lse"}),
        ("i2t_mean_l4", {"direction": "i2t", "smoothing": 4.0}),
        ("i2t_lse_l4_lse5", {"direction": "i2t", "smoothing": 4.0, "pooling": "lse", "sharpness": 5.0}),
        ("t2i_mean_l9_relu_paper", {"activation": "relu"}),
    ],
)
def test_scan_agrees_with_the_published_numbers(key, options):
    agree(losses.cross_attention(IMAGES, CAPTIONS, None, MASK, **options), EXPECTED[key], rtol=2e-5)


def test_an_ensemble_is_the_mean_of_two_score_matrices_and_the_hinge_agrees():
    t2i = losses.cross_attention(IMAGES, CAPTIONS, None, MASK)
    i2t = losses.cross_attention(
        IMAGES, CAPTIONS, None, MASK, direction="i2t", pooling="lse", smoothing=4.0, sharpness=5.0
    )
    agree((t2i + i2t) / 2, EXPECTED["ensemble_t2i_avg_i2t_lse"])
    for negatives in ("max", "sum"):
        agree(losses.ranking_hinge(t2i, negatives=negatives), EXPECTED[f"contrastive_{negatives}_t2i_mean"])


@pytest.mark.parametrize("focal", ["equal", "prob"])
@pytest.mark.parametrize(("key", "smoothing"), [("", 20.0), ("_l2", 2.0)])
def test_bfan_agrees_with_the_published_numbers(focal, key, smoothing):
    scores = losses.bfan(IMAGES, CAPTIONS, None, MASK, focal=focal, smoothing=smoothing)
    agree(scores, BFAN[f"{focal}{key}"], rtol=2e-5)


def test_the_focal_row():
    row = np.array(BFAN["focal_row"])
    for focal in ("equal", "prob"):
        kept = row * array(losses.focal_mask(3 * row, focal, 3.0))
        agree(kept / kept.sum(), BFAN[f"focal_{focal}_of_row"])
        # A row of equal weights keeps all, and so does one that nothing but one vector is in.
        assert array(losses.focal_mask(np.full((2, 4), 0.25, "f4"), focal, 4.0)).all()


OPTIONS = [
    {"direction": direction, "pooling": pooling, "activation": activation, "smoothing": 6.0}
    for direction, pooling, activation in itertools.product(("t2i", "i2t"), ("avg", "lse"), ("leaky_relu", "relu"))
]


@pytest.mark.parametrize("options", OPTIONS, ids=lambda options: "-".join(map(str, options.values())))
def test_scan_is_its_loop_on_ragged_captions_one_word_and_one_image(options):
    for shape in ({}, {"images": 1}, {"captions": 1}, {"regions": 1}):
        x, z, mask, images, ragged = examples(**shape)
        scores = losses.cross_attention(x, z, None, mask, **options)
        agree(scores, reference.matrix(images, ragged, **options), atol=1e-5)


@pytest.mark.parametrize("focal", ["equal", "prob"])
def test_bfan_is_its_loop(focal):
    for smoothing, seed in ((20.0, 0), (4.0, 1)):
        x, z, mask, images, ragged = examples(seed=seed)
        agree(losses.bfan(x, z, None, mask, focal=focal, smoothing=smoothing),
              reference.bfan(images, ragged, focal, smoothing), atol=2e-5)  # fmt: skip


@pytest.mark.parametrize("direction", ["t2i", "i2t"])
def test_late_interaction_is_its_loop(direction):
    x, z, mask, images, ragged = examples()
    scores = losses.late_interaction(3 * x, z, None, mask, direction=direction)
    agree(scores, reference.late(images, ragged, direction))
    agree(losses.pooled_cosine(x, z, None, mask), [
        [hinges.cosine(one.sum(axis=0), other.sum(axis=0)) for other in ragged] for one in images
    ])  # fmt: skip


SCORES = {
    "t2i": losses.cross_attention,
    "i2t": lambda *a, **k: losses.cross_attention(*a, direction="i2t", pooling="lse", **k),
    "equal": losses.bfan,
    "prob": lambda *a, **k: losses.bfan(*a, focal="prob", smoothing=4.0, **k),
    "late": losses.late_interaction,
    "pooled": losses.pooled_cosine,
}


@pytest.mark.parametrize("name", SCORES)
def test_pairs_are_the_diagonal_and_absent_regions_count_for_nothing(name):
    x, z, mask, _, _ = examples()
    score = SCORES[name]
    agree(score(x, z, None, mask, pairs=True), np.diagonal(array(score(x, z, None, mask))))
    padded = np.concatenate([x, np.full((4, 2, 6), 5.0)], axis=1)
    there = np.arange(7) < 5
    there = np.broadcast_to(there, (4, 7))
    agree(score(padded, z, there, mask), array(score(x, z, None, mask)))
    agree(score(padded, z, there, mask, pairs=True), array(score(x, z, None, mask, pairs=True)))


def slopes(function, x: np.ndarray, step: float = 1e-6) -> np.ndarray:
    """The gradient of a float64 function by differences."""
    gradient = np.zeros_like(x)
    for place in np.ndindex(*x.shape):
        moved = [x.copy(), x.copy()]
        moved[0][place] += step
        moved[1][place] -= step
        gradient[place] = (function(moved[0]) - function(moved[1])) / (2 * step)
    return gradient


@pytest.mark.parametrize("name", ["t2i", "i2t", "equal", "prob"])
def test_gradients_are_those_of_the_loop(name):
    x, z, mask, images, ragged = examples(images=4, captions=4, regions=3, dim=3, seed=3, shortest=2)
    if name in ("equal", "prob"):
        ours = {"focal": name, "smoothing": 4.0}
        loop = lambda a, b: reference.bfan(a, b, name, 4.0).sum()  # noqa: E731
        score = losses.bfan
    else:
        ours = {"direction": name, "smoothing": 4.0, "pooling": "lse"}
        loop = lambda a, b: reference.matrix(a, b, **ours).sum()  # noqa: E731
        score = losses.cross_attention
    total = lambda a, b: keras.ops.sum(score(a, b, None, mask, **ours))  # noqa: E731
    value, (of_x, of_z) = value_and_gradients(total, x.astype("f4"), z.astype("f4"))
    agree(value, loop(images, ragged), rtol=1e-5)
    np.testing.assert_allclose(of_x, slopes(lambda a: loop(list(a), ragged), x), atol=2e-4)
    lengths = mask.sum(axis=1)
    cut = lambda b: [own[:length] for own, length in zip(b, lengths, strict=True)]  # noqa: E731
    expected = slopes(lambda b: loop(images, cut(b)), z)
    np.testing.assert_allclose(of_z, expected, atol=2e-4)
    assert not of_z[~mask].any()


def test_attention_weights_are_the_shares_of_the_loop():
    x, z, mask, images, ragged = examples()
    shares = array(losses.attention_weights(x, z, None, mask))
    for row, (regions, words) in enumerate(zip(images, ragged, strict=True)):
        agree(shares[row, : len(words)], reference.attention(regions, words, 9.0))
    turned = array(losses.attention_weights(x, z, None, mask, direction="i2t", smoothing=4.0))
    for row, (regions, words) in enumerate(zip(images, ragged, strict=True)):
        agree(turned[row, :, : len(words)], reference.attention(words, regions, 4.0))
        assert not turned[row, :, len(words) :].any()
