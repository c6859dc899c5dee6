"""Heads that start at CCA, at whitened features or at principal components, beside twins of their eigenproblems."""

from __future__ import annotations

import pathlib
import re

import keras
import numpy as np
import pytest
import scipy.linalg

from tests.conformance.cases import SMALL, SMALL_BERT, SMALL_IMAGES, write_pairs, write_vectors
from tests.data.feature_pairs import vectors, write_npz
from tests.models.plain import plain_images
from tests.models.tiny_bert import write_hugging_face
from xmkeras import flags, methods
from xmkeras.config import Config
from xmkeras.data.passes import one_pass
from xmkeras.data.readers import Items
from xmkeras.data.rows import RowTable
from xmkeras.errors import UserError
from xmkeras.method import Method
from xmkeras.retrieval.linear_maps import Pairs, choose_cca, held_out_images
from xmkeras.run import jobs, trained
from xmkeras.run.assembly import build_method, load_table
from xmkeras.run.directory import RunDirectory
from xmkeras.run.head_start import start_heads
from xmkeras.run.sides import Side, sides_of

DIM = 4


def unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def started(folder: pathlib.Path, *argv: str) -> tuple[Config, RowTable, dict[str, Side], Method]:
    """The training split, sides and method of a run whose heads have started."""
    config = flags.parse([*argv, f"--embedding_dim={DIM}", "--devices=cpu"]).config
    rows = load_table(config).split("train")
    sides = sides_of(config, methods.load(config.method).sides, rows, {})
    keras.utils.set_random_seed(config.train.seed)
    with plain_images():
        method = build_method(config, sides, rows.num_labels)
    run = RunDirectory(folder)
    run.path.mkdir()
    start_heads(config, run, rows, sides, method)
    return config, rows, sides, method


def outputs(
    side: str, rows: RowTable, sides: dict[str, Side], method: Method, *, parts: int | None = None
) -> list[np.ndarray]:
    """What the first parts of an encoder make of all images or texts, without augmentation."""
    items = Items.of(side, rows)
    batch = next(iter(one_pass(sides[side].reader(rows, False), items, batch_size=len(items))))
    batch.pop("item")
    for part in method.towers.sides[side].parts[:parts]:
        batch = part(batch)
    return [np.asarray(value) for value in batch.values()]


def twin_cca(pairs: Pairs) -> np.ndarray:
    """Cosines (q, n) of CCA with the settings that were chosen, by two generalised eigenproblems."""
    held_out = held_out_images(np.arange(len(pairs.images)))
    settings = choose_cca(pairs.take(~held_out), pairs.take(held_out), dimensions=(DIM,)).settings
    x, y = pairs.images[pairs.image_of_text], pairs.texts
    if settings.captions == "averaged":
        averages = [pairs.texts[pairs.image_of_text == image].mean(axis=0) for image in range(len(pairs.images))]
        x, y = pairs.images, np.array(averages)
    means = x.mean(axis=0), y.mean(axis=0)
    x, y = x - means[0], y - means[1]
    sxx, syy, sxy = x.T @ x / len(x), y.T @ y / len(y), x.T @ y / len(x)
    sxx += settings.image_ridge * np.trace(sxx) / len(sxx) * np.eye(len(sxx))
    syy += settings.text_ridge * np.trace(syy) / len(syy) * np.eye(len(syy))
    values, a = scipy.linalg.eigh(sxy @ np.linalg.solve(syy, sxy.T), sxx)
    a, strength = a[:, ::-1][:, :DIM], np.sqrt(np.maximum(values[::-1][:DIM], 0))
    b = np.linalg.solve(syy, sxy.T @ a) / strength
    weights = strength**settings.power
    texts, images = (pairs.texts - means[1]) @ b * weights, (pairs.images - means[0]) @ a * weights
    return unit(texts) @ unit(images).T


def embedded(rows: RowTable, sides: dict[str, Side], method: Method) -> np.ndarray:
    texts, images = (outputs(side, rows, sides, method)[0] for side in ("text", "image"))
    return unit(texts) @ unit(images).T


@pytest.mark.parametrize("norm", ["batch", "none"])
def test_heads_over_pictures_and_bert_start_at_cca(tmp_path: pathlib.Path, norm: str):
    table = write_pairs(tmp_path / "pairs", 16)
    bert = write_hugging_face(tmp_path / "bert")
    frozen = r"--stage=steps=3 frozen=(image_backbone|text_encoder/bert_.*)/.*"
    _, rows, sides, method = started(
        tmp_path / "run", *SMALL_BERT, "--text_tower=bert", f"--bert={bert}", "--source=table", f"--table={table}",
        "--labels=image", "--augment=flip", "--dropout=0.5", "--image_dropout=0.5", f"--joint_norm={norm}", frozen,
        "--head_init=cca",
    )  # fmt: skip
    assert len(list((tmp_path / "run" / "features").iterdir())) == 2  # of both frozen towers
    assert not list((tmp_path / "run").glob(".features-*"))
    tokens, masks = outputs("text", rows, sides, method, parts=1)
    means = np.array([one[mask][1:-1].mean(axis=0) for one, mask in zip(tokens, masks, strict=True)])
    pairs = Pairs(outputs("image", rows, sides, method, parts=1)[0], means, np.repeat(np.arange(16), 2))
    np.testing.assert_allclose(embedded(rows, sides, method), twin_cca(pairs), atol=1e-4)
    lengths = [np.linalg.norm(outputs(side, rows, sides, method)[0], axis=1) for side in ("image", "text")]
    assert [np.sqrt(np.mean(one**2)) for one in lengths] == pytest.approx([np.sqrt(DIM)] * 2, rel=0.1)


def test_towers_over_vectors_start_at_cca(tmp_path: pathlib.Path):
    table = write_npz(tmp_path / "pairs.npz", 60)
    _, rows, sides, method = started(
        tmp_path / "run", "--method=cmpm", "--source=features", f"--table={table}", "--labels=image",
        "--image_hidden=none", "--embedding_activation=linear", "--unit_embeddings", "--head_init=cca",
    )  # fmt: skip
    images, texts = vectors(np.arange(60) % 4)
    pairs = Pairs(images[:20].astype(np.float32), texts[:20].astype(np.float32), np.arange(20))
    np.testing.assert_allclose(embedded(rows, sides, method), twin_cca(pairs), atol=1e-4)


def test_regions_and_words_start_at_cca_of_their_means(tmp_path: pathlib.Path):
    table = write_pairs(tmp_path / "pairs", 16)
    bert = write_hugging_face(tmp_path / "bert")
    _, rows, sides, method = started(
        tmp_path / "run", *SMALL_BERT, "--method=scan", "--scan.words=dense", "--text_tower=bert", f"--bert={bert}",
        "--source=table", f"--table={table}", "--labels=image", "--region_grid=2", "--nofeature_cache",
        "--head_init=cca", r"--stage=steps=3 frozen=(image_backbone|text_encoder/bert_.*)/.*",
    )  # fmt: skip
    (regions,) = outputs("image", rows, sides, method, parts=1)
    tokens, masks = outputs("text", rows, sides, method, parts=1)
    means = np.array([one[mask][1:-1].mean(axis=0) for one, mask in zip(tokens, masks, strict=True)])
    pairs = Pairs(regions.mean(axis=1), means, np.repeat(np.arange(16), 2))
    dense = {
        side: method.towers.sides[side].parts[-1].model.get_layer(name)
        for side, name in (("image", "region_projection"), ("text", "word_projection"))
    }
    images, texts = (
        unit(features @ np.asarray(dense[side].kernel) + np.asarray(dense[side].bias))
        for side, features in (("image", pairs.images), ("text", pairs.texts))
    )
    np.testing.assert_allclose(texts @ images.T, twin_cca(pairs), atol=1e-4)


@pytest.mark.parametrize("attention", ["additive", "multiplicative", "mean"])
def test_images_of_fused_maps_start_whitened_at_the_means_of_the_maps(tmp_path: pathlib.Path, attention: str):
    table = write_pairs(tmp_path / "pairs", 32, by_colour=True)
    _, rows, sides, method = started(
        tmp_path / "run", *SMALL_IMAGES, "--method=dml", "--dml.maps=relu", "--dml.include_last",
        f"--dml.attention={attention}", "--source=table", f"--table={table}", "--joint_norm=none",
        "--head_init=whitened",
    )  # fmt: skip
    pooled, maps = outputs("image", rows, sides, method, parts=1)
    features = np.concatenate([maps.mean(axis=(1, 2)), pooled], axis=1)
    labels = rows.labels[rows.distinct_images()]
    centred = features - features.mean(axis=0)
    inside = features - np.array([features[labels == label].mean(axis=0) for label in labels])
    within, total = inside.T @ inside / len(features), centred.T @ centred / len(features)
    shrunk = 0.7 * within + 0.3 * np.trace(within) / len(within) * np.eye(len(within))
    expected = centred @ scipy.linalg.eigh(total, shrunk)[1][:, ::-1][:, :DIM]
    found = outputs("image", rows, sides, method)[0]
    np.testing.assert_allclose(unit(found) @ unit(found).T, unit(expected) @ unit(expected).T, atol=1e-4)


def test_images_start_at_their_principal_components(tmp_path: pathlib.Path):
    table = write_pairs(tmp_path / "pairs", 16, by_colour=True)
    _, rows, sides, method = started(
        tmp_path / "run", *SMALL_IMAGES, "--method=dml", "--dml.extension=base", "--source=table", f"--table={table}",
        "--head_init=pca",
    )  # fmt: skip
    features = outputs("image", rows, sides, method, parts=1)[0]
    left, values, _ = np.linalg.svd(features - features.mean(axis=0), full_matrices=False)
    expected = (left * values)[:, :DIM]
    found = outputs("image", rows, sides, method)[0]
    np.testing.assert_allclose(unit(found) @ unit(found).T, unit(expected) @ unit(expected).T, atol=1e-4)


def test_a_run_trains_on_from_its_start_and_the_moving_average_begins_there(tmp_path: pathlib.Path):
    table = write_vectors(tmp_path / "pairs.npz", 24, splits=("train", "validation", "test"))
    argv = [
        "--source=features", f"--table={table}", "--image_hidden=none", "--embedding_activation=linear",
        *SMALL[5:], "--joint_norm=none", "--head_init=cca", "--batch_size=8", "--learning_rate=1e-6", "--ema=0.9",
    ]  # fmt: skip
    _, rows, sides, method = started(tmp_path / "start", *argv)
    run = RunDirectory(tmp_path / "run")
    config = flags.parse([*argv, f"--embedding_dim={DIM}", "--devices=cpu", "--steps=2"]).config
    jobs.train(run.named_in(config), run)
    loaded = trained.load(run.config(), run)
    assert loaded.step == 2
    expected = embedded(rows, sides, method)
    np.testing.assert_allclose(embedded(rows, loaded.sides, loaded.method), expected, atol=1e-3)
    before = {name: keras.ops.convert_to_numpy(variable) for name, variable in loaded.method.named_variables().items()}
    config = flags.parse([*argv, f"--embedding_dim={DIM}", "--devices=cpu", "--steps=3"]).config
    jobs.train(run.named_in(config), run)  # from the checkpoint, not from the start again
    for name, variable in trained.load(run.config(), run).method.named_variables().items():
        np.testing.assert_allclose(variable, before[name], atol=1e-4, err_msg=name)


VECTORS = ("--method=cmpm", "--source=features", "--embedding_activation=linear")


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ((*VECTORS, "--image_hidden=6", "--head_init=cca"), "hidden_1 of random weights.*--image_hidden=none"),
        (("--method=cmpm", "--source=features", "--image_hidden=none", "--head_init=cca"), "activation=linear"),
        ((*VECTORS, "--image_hidden=none", "--embedding_norm=batch", "--head_init=cca"), "--embedding_norm=none"),
        ((*VECTORS, "--image_hidden=none", "--head_init=whitened"), "for images alone.*choose another"),
        ((*VECTORS, "--image_hidden=none", "--head_init=cca", "--text_preprocessing=fourier3"), "--embedding_dim=3"),
        (("--method=dml", "--dml.extension=base", "--source=features", "--head_init=cca"), "for images and texts"),
    ],
)  # fmt: skip
def test_what_cannot_start_there_is_refused(tmp_path: pathlib.Path, argv: tuple[str, ...], message: str):
    table = write_npz(tmp_path / "pairs.npz")
    with pytest.raises(UserError, match=message) as refusal:
        started(tmp_path / "run", *argv, f"--table={table}")
    assert re.fullmatch(r"[^\n]+\.", str(refusal.value))


def test_an_lstm_of_random_weights_is_refused(tmp_path: pathlib.Path):
    table = write_pairs(tmp_path / "pairs", 8)
    argv = [*SMALL, "--lstm_units=4", "--source=table", f"--table={table}", "--head_init=cca"]
    with pytest.raises(UserError, match="--lstm_units=0"):
        started(tmp_path / "run", *argv)


@pytest.mark.parametrize("method", ["--method=scan", "--method=vsrn"])
def test_a_gru_of_random_weights_is_refused(tmp_path: pathlib.Path, method: str):
    table = write_pairs(tmp_path / "pairs", 8)
    argv = [*SMALL, method, "--region_grid=2", "--source=table", f"--table={table}", "--head_init=cca"]
    with pytest.raises(UserError, match="does not end in a dense layer"):
        started(tmp_path / "run", *argv)


def test_whitening_wants_labels_that_images_share(tmp_path: pathlib.Path):
    table = write_pairs(tmp_path / "pairs", 8)
    argv = [*SMALL_IMAGES, "--method=dml", "--dml.extension=base", "--source=table", f"--table={table}"]
    with pytest.raises(UserError, match="share labels"):
        started(tmp_path / "run", *argv, "--head_init=whitened")
