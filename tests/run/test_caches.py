"""Training on what frozen towers make of images and captions, from the command and in parts."""

from __future__ import annotations

import csv
import dataclasses
import pathlib
from typing import NamedTuple

import numpy as np
import pytest
import tensorflow as tf

from tests.conformance.cases import SMALL, SMALL_BERT, SMALL_IMAGES, write_pairs
from tests.models.plain import plain_images
from tests.models.tiny_bert import write_hugging_face
from xmkeras import flags, methods
from xmkeras.config import Config
from xmkeras.data.readers import Pictures, Reader, Sentences, Several, TokenVectors, Vectors
from xmkeras.data.rows import RowTable
from xmkeras.errors import UserError
from xmkeras.method import Method
from xmkeras.run import evaluation, jobs
from xmkeras.run.assembly import build_method, load_table
from xmkeras.run.caches import readers_of
from xmkeras.run.directory import RunDirectory
from xmkeras.run.evaluator import Evaluator
from xmkeras.run.sides import Side, sides_of
from xmkeras.training.checkpoints import Checkpoints
from xmkeras.training.freezing import Freezer
from xmkeras.training.groups import Group

FROZEN = r"(image_backbone|text_encoder/bert_.*)/.*"


def weights_of(run: pathlib.Path) -> dict[str, np.ndarray]:
    checkpoint = Checkpoints(run / "checkpoints").latest()
    assert checkpoint is not None
    return {name: value for name, value in checkpoint.tensors.items() if name.startswith("weights/")}


def test_feature_cache_trains_like_the_frozen_backbone_itself(tmp_path: pathlib.Path):
    """Of a MobileNet, whose frozen batch norms must not move."""
    # No moving average: with one, validation reads the averaged towers and has no use for features of the others.
    frozen = ["--stage=steps=6 frozen=image_backbone/.*", "--learning_rate=1e-2", "--batch_size=8", "--devices=cpu"]
    table = write_pairs(tmp_path / "pairs", 16, splits=("train", "validation"))
    for name, more in (("cached", ()), ("computed", ("--nofeature_cache",))):
        run = RunDirectory(tmp_path / name)
        argv = [*SMALL, *frozen, "--source=table", f"--table={table}", *more]
        jobs.train(run.named_in(flags.parse(argv).config), run)
    assert len(list((tmp_path / "cached" / "features").glob("image-*.npy"))) == 2
    assert not (tmp_path / "computed" / "features").exists()
    two = weights_of(tmp_path / "computed")
    for name, value in weights_of(tmp_path / "cached").items():
        np.testing.assert_allclose(value, two[name], atol=1e-4, err_msg=name)


@pytest.mark.usefixtures("plain_tower")
def test_frozen_lower_layers_are_computed_once_and_the_upper_ones_train(tmp_path: pathlib.Path):
    table = write_pairs(tmp_path / "pairs", 16, splits=("train", "test"), by_colour=True)
    argv = [*SMALL_IMAGES, "--method=dml", "--dml.extension=gdfl", "--dml.maps=relu", "--source=table"]
    argv += [f"--table={table}", "--stage=steps=4 frozen=image_backbone/conv/.*", "--learning_rate=1e-2"]
    argv += ["--sampler=classes", "--images_per_class=2", "--batch_size=8", "--devices=cpu"]
    computed, cached = (train(argv, tmp_path / more, f"--{more}") for more in ("nofeature_cache", "feature_cache"))
    two = weights_of(computed.path)
    for name, value in weights_of(cached.path).items():
        np.testing.assert_allclose(value, two[name], atol=1e-4, err_msg=name)
    (moved,) = [value for name, value in two.items() if name.endswith("/norm/moving_mean")]
    assert moved.any()  # the norm above the frozen convolution is trained
    runs = (computed, cached)
    figures = [evaluation.measure(run.config(), run, "test", cached=run is cached)[0].results for run in runs]
    assert figures[0] == pytest.approx(figures[1], abs=1e-6)
    assert not computed.features.exists()
    # Of the training and test images: the map behind the frozen layer, and nothing that is trained.
    assert [path.name.partition("-image_cut-")[2] for path in cached.features.iterdir()] == ["conv.npy"] * 2


def test_half_precision_takes_half_the_room(tmp_path: pathlib.Path):
    table = write_pairs(tmp_path / "pairs", 8, by_colour=True)
    rows = tf.constant([5, 0, 3], tf.int64)
    read, kept = [], []
    for kind in ("float32", "float16"):
        run = parts([*SMALL_IMAGES, "--method=dml", "--dml.maps=relu", "--source=table"], f"--table={table}",
                    f"--feature_type={kind}")  # fmt: skip
        freeze(run.method, "image_backbone/.*")
        backbone = run.method.towers.named_parts["image_backbone"]
        backbone.set_weights([np.full(weight.shape, 0.01, np.float32) for weight in backbone.weights])
        read.append(run.readers(tmp_path / kind)["image"].read(rows, rows, rows))
        kept.append(sum(path.stat().st_size for path in (tmp_path / kind / "features").iterdir()))
    assert kept[1] < 0.51 * kept[0]
    for name, value in read[0].items():
        assert read[1][name].dtype == tf.float32
        np.testing.assert_allclose(read[1][name], value, rtol=1e-3, atol=1e-3)


@pytest.fixture(scope="module")
def arguments(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """CMPM on sixteen drawings a split with two captions each, and a BERT of a few thousand random weights."""
    folder = tmp_path_factory.mktemp("bert")
    table = write_pairs(folder / "pairs", 16, splits=("train", "validation", "test"))
    return [
        *SMALL_BERT, "--text_tower=bert", f"--bert={write_hugging_face(folder / 'bert')}", "--source=table",
        f"--table={table}", "--labels=image", "--batch_size=8", "--learning_rate=3e-3", "--bert_dropout=0.3",
        "--dropout=0.2", "--eval_every=3", "--devices=cpu",
    ]  # fmt: skip


class Parts(NamedTuple):
    config: Config
    table: RowTable
    sides: dict[str, Side]
    method: Method

    def readers(self, folder: pathlib.Path, split: str = "train", **more) -> dict[str, Reader]:
        rows = self.table.split(split)
        given = {"training": True} | more
        return readers_of(self.config, RunDirectory(folder), rows, self.sides, self.method, **given)


def parts(arguments: list[str], *more: str) -> Parts:
    config = flags.parse([*arguments, *more]).config
    table = load_table(config)
    rows = table.split("train")
    sides = sides_of(config, methods.load(config.method).sides, rows, {})
    with plain_images():
        return Parts(config, table, sides, build_method(config, sides, rows.num_labels))


def train(arguments: list[str], folder: pathlib.Path, *more: str) -> RunDirectory:
    run = RunDirectory(folder)
    with plain_images():
        jobs.train(run.named_in(flags.parse([*arguments, *more]).config), run)
    return run


def freeze(method: Method, *patterns: str) -> None:
    Freezer(method).freeze([Group(pattern, frozen=True) for pattern in patterns])


def read_texts(reader: Reader, pairs: list[tuple[int, int]]) -> dict[str, tf.Tensor]:
    rows, captions = (tf.constant(column, tf.int64) for column in zip(*pairs, strict=True))
    return reader.read(rows, captions, rows)


def test_a_frozen_bert_is_computed_once_a_distinct_caption(arguments: list[str], tmp_path: pathlib.Path):
    run = parts(arguments)
    assert isinstance(run.readers(tmp_path)["text"], Sentences)  # nothing is frozen yet
    freeze(run.method, "text_encoder/bert_.*")
    rows = run.table.split("train")
    rows.captions[3] = rows.captions[2]
    chosen = readers_of(run.config, RunDirectory(tmp_path), rows, run.sides, run.method, training=True)
    assert isinstance(chosen["image"], Pictures)
    assert isinstance(chosen["text"], TokenVectors)
    assert len(chosen["text"].starts) - 1 == 2 * len(rows) - 2
    pairs = [(5, 1), (0, 0), (3, 1)]
    plain = run.sides["text"].reader(rows, False)
    cached = read_texts(chosen["text"], pairs)
    encoder = run.method.towers.sides["text"]
    expected = encoder.front()(read_texts(plain, pairs))
    there = expected["text_mask"].numpy()
    for number in range(3):
        np.testing.assert_allclose(
            cached["text_tokens"][number][cached["text_mask"][number]],
            expected["text_tokens"][number][there[number]],
            atol=1e-5,
        )
    np.testing.assert_allclose(encoder(cached)[""], encoder(read_texts(plain, pairs))[""], atol=1e-5)


def test_an_empty_caption_keeps_its_end_token(arguments: list[str], tmp_path: pathlib.Path):
    run = parts(arguments)
    rows = run.table.split("train")
    rows.captions[0] = ("",)
    freeze(run.method, "text_encoder/bert_.*")
    reader = readers_of(run.config, RunDirectory(tmp_path), rows, run.sides, run.method, training=True)["text"]
    pairs = [(0, 0), (1, 0)]
    cached = read_texts(reader, pairs)
    assert cached["text_mask"][0].numpy().sum() == 2  # [CLS] and [SEP]
    encoder = run.method.towers.sides["text"]
    plain = read_texts(run.sides["text"].reader(rows, False), pairs)
    np.testing.assert_allclose(encoder(cached)[""], encoder(plain)[""], atol=1e-5)


def test_dropped_words_are_computed_anew(arguments: list[str], tmp_path: pathlib.Path):
    run = parts(arguments, "--word_dropout=0.1")
    freeze(run.method, "text_encoder/bert_.*")
    assert isinstance(run.readers(tmp_path)["text"], Sentences)


@pytest.mark.parametrize("frozen", ["image_backbone/.*", "text_encoder/bert_.*"])
def test_a_folder_that_cannot_be_written_is_one_sentence(arguments: list[str], tmp_path: pathlib.Path, frozen: str):
    (tmp_path / "file").write_text("")
    run = parts(arguments, f"--feature_dir={tmp_path / 'file' / 'features'}")
    freeze(run.method, frozen)
    with pytest.raises(UserError, match=r"cannot be written: Not a directory; .* or train with --nofeature_cache\.$"):
        run.readers(tmp_path)


def test_views_of_pictures_lie_side_by_side(arguments: list[str], tmp_path: pathlib.Path):
    run = parts(arguments, "--augment=flip,crop", "--feature_views=3")
    freeze(run.method, "image_backbone/.*")
    reader = run.readers(tmp_path)["image"]
    assert isinstance(reader, Vectors)
    assert (reader.views, reader.array.shape[:2]) == (4, (16, 4))
    plain = run.readers(tmp_path, training=False)["image"]
    assert plain.array.ndim == 2
    np.testing.assert_allclose(reader.array[:, 0], plain.array, atol=1e-5)
    assert (reader.array[:, 1] != reader.array[:, 2]).any()


def test_maps_of_a_frozen_backbone_are_kept_beside_its_features(tmp_path: pathlib.Path):
    table = write_pairs(tmp_path / "pairs", 8, by_colour=True)
    arguments = [*SMALL_IMAGES, "--method=dml", "--dml.maps=relu", "--source=table", f"--table={table}"]
    run = parts(arguments, "--augment=flip")
    freeze(run.method, "image_backbone/.*")
    reader = run.readers(tmp_path)["image"]
    assert isinstance(reader, Several)
    files = sorted(path.name for path in (tmp_path / "features").iterdir())
    assert [name.partition("-image_map")[2] for name in files] == ["-relu.npy", ""]
    rows = tf.constant([5, 0, 3], tf.int64)
    read = reader.read(rows, tf.zeros_like(rows), rows)
    np.testing.assert_allclose(read["image_features"], tf.reduce_mean(read["image_map/relu"], (1, 2)), atol=1e-5)
    plain = run.readers(tmp_path, training=False)["image"].read(rows, tf.zeros_like(rows), rows)
    pictures = run.sides["image"].reader(run.table.split("train"), False)
    seen = {"image": tf.stack([pictures.read(row, row, row)["image"] for row in rows])}
    encoder = run.method.towers.sides["image"]
    for name, value in encoder(plain).items():
        np.testing.assert_allclose(value, encoder(seen)[name], atol=1e-4, err_msg=name)


def test_features_of_folded_norms_have_a_file_of_their_own(arguments: list[str], tmp_path: pathlib.Path):
    run = parts(arguments)
    freeze(run.method, "image_backbone/.*")
    plain = dataclasses.replace(run.config, train=dataclasses.replace(run.config.train, fold_batch_norm=False))
    both = [one.readers(tmp_path, training=False)["image"] for one in (run, run._replace(config=plain))]
    assert len(list((tmp_path / "features").iterdir())) == 2
    np.testing.assert_allclose(both[0].array, both[1].array, rtol=1e-5, atol=1e-5)


@pytest.mark.usefixtures("plain_tower")
def test_a_broken_image_is_left_out_of_a_cached_evaluation_too(arguments: list[str], tmp_path: pathlib.Path):
    run = parts(arguments)
    validation = run.table.split("validation")
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no image")
    paths = list(validation.image_paths)
    paths[4] = str(broken)
    validation = dataclasses.replace(validation, image_paths=paths)
    freeze(run.method, "image_backbone/.*", "text_encoder/bert_.*")
    evaluator = Evaluator(run.config, validation, run.method, run.sides, tmp_path / "embeddings")
    plain = {name: (part.ids.copy(), np.array(part.vectors)) for name, part in evaluator.embed().items()}
    evaluator.readers = readers_of(
        run.config, RunDirectory(tmp_path), validation, run.sides, run.method, training=False
    )
    assert all(isinstance(reader, Vectors | TokenVectors) for reader in evaluator.readers.values())
    cached = evaluator.embed()
    assert {name: len(part) for name, part in cached.items()} == {"image": 15, "text": 30}
    for name, (ids, vectors) in plain.items():
        np.testing.assert_array_equal(cached[name].ids, ids)
        np.testing.assert_allclose(cached[name].vectors, vectors, atol=1e-5)


STAGES = (f"--stage=steps=6 frozen={FROZEN}", "--stage=steps=2 lr=1e-4")


@pytest.fixture(scope="module")
def cached(arguments: list[str], tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    """Six steps on cached features and two without them, measured after three, six and eight steps."""
    folder = tmp_path_factory.mktemp("cached")
    with plain_images():
        return train(arguments, folder / "run", *STAGES, f"--feature_dir={folder / 'shared'}")


def rsums(run: RunDirectory) -> list[str]:
    with (run.path / "metrics.csv").open(encoding="utf-8", newline="") as file:
        return [row["validation/rsum"] for row in csv.DictReader(file) if row["validation/rsum"]]


@pytest.mark.usefixtures("plain_tower")
def test_both_caches_train_and_measure_like_the_frozen_towers_themselves(
    arguments: list[str], cached: RunDirectory, tmp_path: pathlib.Path
):
    computed = train(arguments, tmp_path / "computed", *STAGES, "--nofeature_cache")
    shared = [path.name.split("-")[0] for path in (cached.path.parent / "shared").iterdir()]
    assert sorted(shared) == ["image", "image", "text"]  # training and validation, of the same captions
    two = weights_of(computed.path)
    for name, value in weights_of(cached.path).items():
        np.testing.assert_allclose(value, two[name], atol=1e-3, err_msg=name)
    assert rsums(cached) == rsums(computed)
    assert len(rsums(cached)) == 3


@pytest.mark.usefixtures("plain_tower")
def test_a_cached_run_goes_on_bit_by_bit(arguments: list[str], cached: RunDirectory, tmp_path: pathlib.Path):
    class CutError(Exception):
        pass

    saves = Checkpoints.save

    def save_then_die(self: Checkpoints, step: int, *args, **kwargs):
        saves(self, step, *args, **kwargs)
        if step == 3:
            raise CutError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Checkpoints, "save", save_then_die)
        with pytest.raises(CutError):
            train(arguments, tmp_path / "cut", *STAGES)
    cut = train(arguments, tmp_path / "cut", *STAGES)
    one, two = weights_of(cached.path), weights_of(cut.path)
    assert one.keys() == two.keys()
    for name in one:
        assert one[name].tobytes() == two[name].tobytes(), name
