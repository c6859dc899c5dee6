"""Every method trains, overfits, stays finite in half precision, resumes bit-equal, and survives export."""

from __future__ import annotations

import dataclasses
import pathlib
import shutil
from collections.abc import Mapping
from typing import ClassVar

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.conformance.cases import METHODS, SMALL, WITH_BERT, write_pairs
from tests.models.tiny_bert import write_hugging_face
from xmkeras import flags, jobs
from xmkeras.method import Batch, Method
from xmkeras.run import RunDirectory
from xmkeras.training.checkpoints import Checkpoints
from xmkeras.training.optimizers import GroupedOptimizer
from xmkeras.training.step import TrainStep

CASES = METHODS | WITH_BERT
# A BERT of random weights has more to learn than word vectors, and the towers of DAML train against an adversary.
OVERFIT_STEPS = dict.fromkeys(METHODS, 120) | {"daml": 180} | dict.fromkeys(WITH_BERT, 240)


def train(
    name: str, tmp_path: pathlib.Path, *more: str, run: str = "run", splits: tuple[str, ...] = ("train",)
) -> RunDirectory:
    """Trains a case on eight pairs a split and returns its run."""
    table = tmp_path / "pairs" / "pairs.csv"
    if not table.exists():
        write_pairs(table.parent, splits=splits)
    bert = [f"--bert={write_hugging_face(tmp_path / 'bert')}", "--bert_dropout=0"] if name in WITH_BERT else []
    argv = [
        *CASES[name], *SMALL, *bert, "--source=table", f"--table={table}", "--labels=image", "--batch_size=8",
        "--learning_rate=3e-3", "--dropout=0", "--norm_momentum=0.9", f"--run={tmp_path / run}", "--devices=cpu", *more,
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

    run: RunDirectory
    moved: dict[str, bool]


@pytest.fixture(scope="module", params=CASES)
def overfitted(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Overfitted:
    name: str = request.param
    length = (f"--steps={OVERFIT_STEPS[name]}", f"--save_every={OVERFIT_STEPS[name]}")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("xmkeras.training.loop.TrainStep", WatchedStep)
        WatchedStep.moved.clear()
        run = train(name, tmp_path_factory.mktemp(name), *length, splits=("train", "test"))
    return Overfitted(run, dict(WatchedStep.moved))


def test_a_step_moves_every_trained_weight(overfitted: Overfitted):
    assert len(overfitted.moved) > 40
    still = [name for name, moved in overfitted.moved.items() if not moved]
    assert not [name for name in still if "words" not in name]


def test_overfits_eight_pairs(overfitted: Overfitted):
    run = overfitted.run
    results = jobs.evaluate(run.config(), run, "train")[0].results
    assert results["image_to_text/R@1"] == 100
    assert results["text_to_image/R@1"] == 100


def test_export_round_trip(overfitted: Overfitted):
    run = overfitted.run
    directory = jobs.export(run.config(), run, "test", top_k=3)
    loaded = tf.saved_model.load(str(directory))
    method, _ = jobs.load_method(run.config(), run)
    texts = ["a red circle", "square painted blue"]
    expected = keras.ops.normalize(method.towers.encode_text(tf.constant(texts)), axis=-1)
    answer = loaded.signatures["encode_text"](text=tf.constant(texts))
    np.testing.assert_allclose(answer["embedding"], expected, atol=1e-5)
    found = loaded.signatures["search_by_text"](text=tf.constant(texts))
    assert found["ids"].shape == (2, 3)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("precision", ["mixed_bfloat16", "mixed_float16"])
@pytest.mark.usefixtures("plain_tower")
def test_half_precision_stays_finite(name: str, precision: str, tmp_path: pathlib.Path):
    run = train(name, tmp_path, "--steps=4", f"--precision={precision}")
    for key, value in weights(run).items():
        assert np.all(np.isfinite(np.asarray(value, np.float32))), key


@pytest.mark.parametrize("name", CASES)
@pytest.mark.usefixtures("plain_tower")
def test_resume_is_bit_equal(name: str, tmp_path: pathlib.Path):
    options = (
        "--save_every=3",
        "--augment=flip,crop",
        "--dropout=0.2",
        "--bert_dropout=0.2",
        "--word_dropout=0.1",
        "--ema=0.9",
        "--schedule=cosine",
    )
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
