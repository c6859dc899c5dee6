"""Embedding a split: every image once, every caption, broken images left out with theirs."""

from __future__ import annotations

import dataclasses
import pathlib

import keras
import numpy as np
import pytest

from tests.conformance.cases import SMALL, write_pairs
from tests.data.published_layouts import write_mapped_pictures
from xmkeras import flags
from xmkeras.config import Config
from xmkeras.errors import UserError
from xmkeras.retrieval.linear_maps import recalls, unit_rows
from xmkeras.run.assembly import build_method, load_table
from xmkeras.run.evaluator import Evaluator
from xmkeras.run.sides import sides_of


@pytest.fixture
def config(tmp_path: pathlib.Path) -> Config:
    table = write_pairs(tmp_path, 6, splits=("train", "test"))
    return flags.parse([*SMALL, "--source=table", f"--table={table}"]).config


def _evaluator(config: Config, tmp_path: pathlib.Path, seed: int = 0) -> Evaluator:
    table = load_table(config)
    rows = table.split("train")
    sides = sides_of(config, ("image", "text"), rows, {})
    keras.utils.set_random_seed(seed)
    method = build_method(config, sides, rows.num_labels)
    return Evaluator(config, table.split("test"), method, sides, tmp_path / f"embeddings{seed}")


def test_embeds_each_image_once_and_each_caption(config: Config, tmp_path: pathlib.Path):
    images, texts = _evaluator(config, tmp_path).embed().values()
    assert images.vectors.shape == (6, 16)
    assert texts.vectors.shape == (12, 16)
    assert set(texts.ids) == set(images.ids)
    assert len(set(images.ids)) == 6


def test_a_broken_image_leaves_with_its_captions(
    config: Config, tmp_path: pathlib.Path, caplog: pytest.LogCaptureFixture
):
    (tmp_path / "test_2.png").write_bytes(b"no image at all")
    measured = _evaluator(config, tmp_path).measure()
    assert len(measured.images) == 5
    assert len(measured.texts) == len(measured.captions) == 10
    assert not any("test_2" in image_id for image_id in measured.texts.ids)
    for number in (0, 1, 3, 4, 5):
        (tmp_path / f"test_{number}.png").write_bytes(b"nor this")
    assert "test_2.png" in caplog.text
    with pytest.raises(UserError, match="None of the images"):
        _evaluator(config, tmp_path).embed()


def test_scalars_leave_out_sizes_and_chance_and_classes_add_reed(config: Config, tmp_path: pathlib.Path):
    measured = _evaluator(config, tmp_path).measure()
    assert "chance/rsum" in measured.results
    assert not any("chance" in name or "queries" in name for name in measured.scalars)
    assert "image_to_text/class_accuracy" in measured.scalars


def test_a_thumbnail_is_what_the_towers_see(config: Config, tmp_path: pathlib.Path):
    evaluator = _evaluator(config, tmp_path)
    images = evaluator.embed()["image"]
    picture = evaluator.thumbnail(str(images.ids[0]))
    assert picture.shape == (32, 32, 3)
    assert picture.dtype == np.uint8
    assert picture[0, 0].tolist() == [255, 255, 255]


def test_texts_go_by_their_own_words_where_asked(config: Config, tmp_path: pathlib.Path):
    sets = _evaluator(config, tmp_path).embed(named=True)
    assert sets["text"].ids.tolist()[:2] == ["a red circle", "circle painted red"]
    assert sets["image"].ids.tolist()[0].endswith("test_0.png")


def test_a_split_that_cannot_be_cut_into_folds_can_still_be_embedded(config: Config, tmp_path: pathlib.Path):
    folds = dataclasses.replace(config.data, protocol="folds")
    evaluator = _evaluator(dataclasses.replace(config, data=folds), tmp_path)
    assert len(evaluator.embed()["image"]) == 6
    with pytest.raises(UserError, match="6 images cannot be cut into 5 equal folds"):
        _ = evaluator.figures


def test_words_look_where_the_attention_of_their_caption_and_image_is(config: Config, tmp_path: pathlib.Path):
    regions = ["--method=scan", "--region_grid=2", "--image_width=0.25", "--image_size=32"]
    (tmp_path / "test_0.png").write_bytes(b"no image at all")
    assert not _evaluator(config, tmp_path).attends  # its words are not matched with regions
    plain = [flag for flag in SMALL if not flag.startswith(("--method", "--cmpm"))]
    config = flags.parse([*plain, *regions, "--source=table", f"--table={config.data.table}"]).config
    evaluator = _evaluator(config, tmp_path, seed=1)
    assert evaluator.attends
    measured = evaluator.measure()
    method, image = evaluator._method, measured.images.ids[3]
    for text in (0, 7):
        looks = evaluator.looks(text, image)
        words = [word for word, _ in looks if word]
        assert words == measured.captions[text].lower().split()
        sets = evaluator.embed()
        outputs = dict(zip(("image", "image/mask"), sets["image"].vectors.padded(np.array([3])), strict=True))
        outputs |= dict(zip(("text", "text/mask"), sets["text"].vectors.padded(np.array([text])), strict=True))
        (shares,) = method.attention({name: keras.ops.convert_to_tensor(value) for name, value in outputs.items()})
        assert [shape.shape for _, shape in looks] == [(2, 2)] * len(looks)
        np.testing.assert_allclose([look.ravel() for _, look in looks], shares, atol=1e-5)


@pytest.mark.usefixtures("plain_tower")
def test_an_ensemble_ranks_by_the_mean_of_the_scores(config: Config, tmp_path: pathlib.Path):
    config = dataclasses.replace(config, data=dataclasses.replace(config.data, labels="image"))
    three = [_evaluator(config, tmp_path, seed) for seed in range(3)]
    cosines = []
    for evaluator in three:
        images, texts = evaluator.embed().values()
        cosines.append(unit_rows(np.array(texts.vectors, "f8")) @ unit_rows(np.array(images.vectors, "f8")).T)
    places = [images.ids.tolist().index(name) for name in texts.ids]
    expected = recalls(np.mean(cosines, axis=0), np.array(places))
    measured = three[0].measure(ensemble=three[1:])
    assert {name: measured.results[name] for name in expected} == pytest.approx(expected)
    assert measured.results["rsum"] != three[0].measure().results["rsum"]


def test_models_of_an_ensemble_read_the_same_images(config: Config, tmp_path: pathlib.Path):
    whole = _evaluator(config, tmp_path)
    table = dataclasses.replace(config.data, table=str(write_pairs(tmp_path / "fewer", 5, splits=("train", "test"))))
    fewer = _evaluator(dataclasses.replace(config, data=table), tmp_path, 1)
    with pytest.raises(UserError, match="must read the same images"):
        whole.measure(ensemble=[fewer])


@pytest.mark.parametrize("boxes", [False, True])
def test_published_regions_show_their_photographs_and_where_words_look_if_boxes_tell(
    tmp_path: pathlib.Path, boxes: bool
):
    write_mapped_pictures(tmp_path)
    precomp = tmp_path / "f30k" / "precomp"
    for array in precomp.glob("*_ims.npy"):
        shape = np.load(array).shape[:2]
        if boxes:
            np.save(precomp / array.name.replace("_ims", "_boxes"), np.tile([0, 0, 50, 100], (*shape, 1)))
            np.save(precomp / array.name.replace("_ims", "_img_sizes"), np.full((shape[0], 2), 100))
    flagged = ["--source=flickr30k_regions", f"--data_dir={tmp_path}", "--method=scan", "--embedding_dim=4"]
    evaluator = _evaluator(flags.parse(flagged).config, tmp_path)
    measured = evaluator.measure()
    assert evaluator.attends == boxes  # a detector's regions without boxes are no grid
    first = measured.images.ids[0]
    if boxes:
        looks = evaluator.looks(0, first)
        np.testing.assert_allclose([look[:, :28].mean() for _, look in looks], 1, atol=1e-5)
        assert not any(look[:, 28:].any() for _, look in looks)
    (shown,) = {evaluator.thumbnail(first).shape}
    assert shown == (224, 224, 3)
    pathlib.Path(evaluator.table.image_paths[0]).write_bytes(b"no image at all")
    assert len(np.unique(evaluator.thumbnail(evaluator.table.image_ids[0]))) == 1  # and no error
