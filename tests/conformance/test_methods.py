"""Every method trains, overfits, stays finite in half precision, resumes bit-equal, and survives export."""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import pathlib
import shutil
from collections.abc import Mapping
from typing import ClassVar

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.conformance.cases import CASES, SMALL, SMALL_BERT, SMALL_IMAGES, write_pairs, write_vectors
from tests.models.plain import plain_images
from tests.models.tiny_bert import write_hugging_face
from tests.toys import toys_installed
from xmkeras import flags
from xmkeras.method import Batch, Method
from xmkeras.retrieval.embeddings import EmbeddingSet, Sequences
from xmkeras.run import evaluation, jobs, trained
from xmkeras.run.assembly import load_table
from xmkeras.run.directory import RunDirectory
from xmkeras.training.checkpoints import Checkpoints
from xmkeras.training.optimizers import GroupedOptimizer
from xmkeras.training.step import TrainStep

DEEP = "cmpm_cmpc"


@pytest.fixture(autouse=True)
def _toys(request: pytest.FixtureRequest):
    """The methods that no paper has, for the cases that need them."""
    called = getattr(request.node, "callspec", None)
    name = "" if called is None else called.params.get("name", called.params.get("overfitted", ""))
    tower = contextlib.nullcontext() if name == DEEP else plain_images()
    with tower, toys_installed(many_vectors=name == "pair_score"):
        yield


def train(
    name: str, tmp_path: pathlib.Path, *more: str, run: str = "run", splits: tuple[str, ...] = ("train",)
) -> RunDirectory:
    """Trains a case on eight pairs, or two images of eight classes, a split and returns its run."""
    case = CASES[name]
    shape = {"vectors": (24,), "regions": (4, 16)}.get(case.inputs)
    data = tmp_path / case.inputs / ("pairs.npz" if shape else "pairs.csv")
    if not data.exists():
        if shape:
            write_vectors(data, splits=splits, shape=shape)
        else:
            classes = case.inputs == "colours"
            write_pairs(data.parent, 16 if classes else 8, splits=splits, by_colour=classes)
    argv = {
        "pairs": [*SMALL, "--source=table", "--labels=image"],
        "colours": [*SMALL_IMAGES, "--source=table"],
        "vectors": [
            "--embedding_dim=16", "--word_dim=16", "--lstm_units=0", "--pooling=mean", "--min_count=1",
            "--source=features", "--validation_share=0",
        ],
        "regions": [
            "--embedding_dim=16", "--word_dim=8", "--min_count=1", "--source=features", "--validation_share=0",
        ],
    }[case.inputs]
    if "--text_tower=bert" in case.flags:
        argv = [*SMALL_BERT, "--source=table", "--labels=image", f"--bert={write_hugging_face(tmp_path / 'bert')}"]
    argv += [] if case.inputs == "colours" else ["--dropout=0", "--batch_size=8"]
    argv += [
        *case.flags, f"--table={data}", "--learning_rate=3e-3", "--norm_momentum=0.9",
        f"--run={tmp_path / run}", "--devices=cpu", *more,
    ]  # fmt: skip
    directory = RunDirectory(tmp_path / run)
    jobs.train(directory.named_in(flags.parse(argv).config), directory)
    return directory


@pytest.fixture(autouse=True)
def _float32_afterwards():
    yield
    keras.config.set_dtype_policy("float32")


def weights(run: RunDirectory) -> dict[str, np.ndarray]:
    checkpoint = Checkpoints(run.checkpoints).latest()
    assert checkpoint is not None
    return checkpoint.tensors


def logged(run: RunDirectory, name: str) -> list[float]:
    """A number of a run over its steps."""
    with (run.path / "metrics.csv").open(encoding="utf-8", newline="") as file:
        return [float(row[name]) for row in csv.DictReader(file) if row[name]]


class WatchedStep(TrainStep):
    """Remembers which trained weights the second step moved."""

    moved: ClassVar[dict[str, bool]] = {}

    def __init__(self, method: Method, optimizers: Mapping[str, GroupedOptimizer], *rest, **options):
        super().__init__(method, optimizers, *rest, **options)
        named = method.named_variables()
        trained = [name for optimizer in optimizers.values() for name in optimizer.trainable_names]
        self._watched = {name: named[name] for name in trained}

    def __call__(self, batch: Batch, step: int):
        before = {name: variable.numpy() for name, variable in self._watched.items()} if step == 1 else {}
        results = super().__call__(batch, step)
        self.moved.update({name: not np.array_equal(old, self._watched[name]) for name, old in before.items()})
        return results


@dataclasses.dataclass(frozen=True)
class Overfitted:
    """A run that was trained until it knows its eight pairs, and which trained weights its second step moved."""

    name: str
    run: RunDirectory
    moved: dict[str, bool]


@pytest.fixture(scope="module", params=CASES)
def overfitted(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Overfitted:
    name: str = request.param
    length = (f"--steps={CASES[name].steps}", f"--save_every={CASES[name].steps}")
    # One method stands for all on a deep tower; the others see embeddings, whatever made them.
    tower = contextlib.nullcontext() if name == DEEP else plain_images()
    with tower, toys_installed(many_vectors=name == "pair_score"), pytest.MonkeyPatch.context() as patch:
        patch.setattr("xmkeras.training.loop.TrainStep", WatchedStep)
        WatchedStep.moved.clear()
        run = train(name, tmp_path_factory.mktemp(name), *length, splits=("train", "test"))
    return Overfitted(name, run, dict(WatchedStep.moved))


def test_a_step_moves_every_trained_weight(overfitted: Overfitted):
    assert len(overfitted.moved) > (40 if overfitted.name == DEEP else 2)
    still = [name for name, moved in overfitted.moved.items() if not moved]
    assert not [name for name in still if "words" not in name]


def test_overfits_its_examples(overfitted: Overfitted):
    run = overfitted.run
    results = evaluation.measure(run.config(), run, "train")[0].results
    assert {figure: results[figure] for figure in CASES[overfitted.name].figures} == dict.fromkeys(
        CASES[overfitted.name].figures, 100
    )


def requests(run: RunDirectory, side: str) -> list[object]:
    """What a client sends for the images, or for the first caption of each row, of the test split."""
    table = load_table(run.config()).split("test")
    if side == "text":
        return [captions[0] for captions in table.captions]
    if table.features is None:
        return [table.read_bytes(row) for row in table.distinct_images()]
    return list(np.asarray(table.features[table.image_index], np.float32))


def embedded(run: RunDirectory, side: str) -> list[np.ndarray]:
    """The vectors, (d,) or (n, d), that evaluation has kept of the same items of the test split."""
    kept, table = EmbeddingSet.load(run.embeddings("test") / f"{side}s"), load_table(run.config()).split("test")
    first = {one: number for number, one in reversed(list(enumerate(kept.ids.tolist())))}
    places = [first[table.image_ids[row]] for row in table.distinct_images()]
    if isinstance(kept.vectors, Sequences):
        return [kept.vectors.take(np.array([place])).values for place in places]
    return list(np.asarray(kept.vectors)[places])


def test_export_round_trip(overfitted: Overfitted):
    """The SavedModel encodes what evaluation embeds, and a search finds what the pairs' scores say."""
    run = overfitted.run
    evaluation.measure(run.config(), run, "test")
    directory = jobs.export(run.config(), run, "test", top_k=3)
    signatures = tf.saved_model.load(str(directory)).signatures
    method, _, sides, *_ = trained.load(run.config(), run)
    asked = {side: {made.request("core").spec.name: tf.constant(requests(run, side))} for side, made in sides.items()}
    for side in sides:
        answer = signatures[f"encode_{side}"](**asked[side])
        for number, expected in enumerate(embedded(run, side)):
            given = answer["embedding"][number].numpy()
            given = given[answer["mask"][number].numpy()] if "mask" in answer else given
            if method.similarity == "cosine":
                expected = expected / np.linalg.norm(expected)
            np.testing.assert_allclose(given, expected, atol=1e-5)
    last = list(sides)[-1]
    found = {name: value.numpy() for name, value in signatures[f"search_by_{last}"](**asked[last]).items()}
    assert found["ids"].shape == (len(requests(run, last)), 3)
    if "text" in sides:
        table = load_table(run.config()).split("test")
        place = {table.image_ids[row]: number for number, row in enumerate(table.distinct_images())}
        best = [place[first.decode()] for first in found["ids"][:, 0]]
        images = {name: tf.gather(value, best) for name, value in asked["image"].items()}
        scores = signatures["score"](**images, **asked["text"])["score"]
        np.testing.assert_allclose(scores, found["scores"][:, 0], atol=1e-4)


# Both types meet the same layers; float16 has a loss scale beside them.
@pytest.mark.parametrize(
    ("name", "precision"), [*((name, "mixed_float16") for name in CASES), (DEEP, "mixed_bfloat16")]
)
@pytest.mark.usefixtures("plain_tower")
def test_half_precision_learns_and_stays_finite(name: str, precision: str, tmp_path: pathlib.Path):
    """Twenty steps, of which the first in float16 overflow and are skipped: the loss scale begins far too high."""
    run = train(name, tmp_path, "--steps=20", "--log_every=1", f"--precision={precision}")
    last = weights(run)
    for key, value in last.items():
        assert np.all(np.isfinite(np.asarray(value, np.float32))), key
    losses = logged(run, "loss")
    assert losses[-1] < max(losses[:3])  # a queue of embeddings fills first
    if precision == "mixed_float16":
        assert last["loss_scale/scale"] < 2.0**15 or int(last["loss_scale/finite_steps"]) == 20


@pytest.mark.parametrize("name", CASES)
@pytest.mark.usefixtures("plain_tower")
def test_resume_is_bit_equal(name: str, tmp_path: pathlib.Path):
    options = ["--save_every=3", "--ema=0.9", "--schedule=cosine", "--log_every=1"]
    varied = {"vectors": "--feature_dropout=0.2", "regions": "--image_dropout=0.2"}
    options += [varied.get(CASES[name].inputs, "--augment=flip,crop")]
    options += [] if CASES[name].inputs == "colours" else ["--dropout=0.2", "--word_dropout=0.1"]
    options += ["--bert_dropout=0.2"] if "--text_tower=bert" in CASES[name].flags else []
    whole, cut = RunDirectory(tmp_path / "whole"), RunDirectory(tmp_path / "cut")
    save = Checkpoints.save

    def save_and_copy(self: Checkpoints, step: int, *args, **kwargs):
        save(self, step, *args, **kwargs)
        if step == 3:  # what a kill at this moment would leave
            shutil.copytree(whole.path, cut.path)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Checkpoints, "save", save_and_copy)
        train(name, tmp_path, "--steps=8", *options, run="whole")
    assert Checkpoints(cut.checkpoints).steps() == [3]
    keras.utils.clear_session()
    jobs.train(cut.named_in(whole.config()), cut)
    one, two = weights(whole), weights(cut)
    assert one.keys() == two.keys()
    for key in one:
        assert one[key].tobytes() == two[key].tobytes(), key
    if "adapt_adv" in name:
        lambdas = [logged(run, "adversary/lambda") for run in (whole, cut)]
        # Of two steps an epoch, the fourth goes on with what the first epoch has set.
        assert lambdas[0] == lambdas[1]
        assert lambdas[0][1] != lambdas[0][2] == lambdas[0][3]
