"""Every method trains, overfits, stays finite in half precision, resumes bit-equal, and survives export."""

from __future__ import annotations

import pathlib
import re

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.conformance.cases import METHODS, SMALL, WITH_BERT, write_pairs
from tests.models.tiny_bert import write_hugging_face
from xmkeras import flags, jobs
from xmkeras.run import RunDirectory
from xmkeras.training.checkpoints import Checkpoints

CASES = METHODS | WITH_BERT
# A BERT of random weights has more to learn than word vectors.
OVERFIT_STEPS = {name: 240 if name in WITH_BERT else 120 for name in CASES}


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


@pytest.mark.parametrize("name", CASES)
def test_a_step_moves_every_trained_weight(name: str, tmp_path: pathlib.Path):
    train(name, tmp_path, "--steps=1", run="one")
    train(name, tmp_path, "--steps=2", run="two")
    before, after = weights(RunDirectory(tmp_path / "one")), weights(RunDirectory(tmp_path / "two"))
    trained = [re.sub(r"^optimizer/\w+/", "", n.removesuffix("/velocity")) for n in after if n.endswith("/velocity")]
    assert len(trained) > 40
    still = [n for n in trained if np.array_equal(before[f"weights/{n}"], after[f"weights/{n}"])]
    assert not [n for n in still if "words" not in n]


@pytest.mark.parametrize("name", CASES)
def test_overfits_eight_pairs(name: str, tmp_path: pathlib.Path):
    run = train(name, tmp_path, f"--steps={OVERFIT_STEPS[name]}", splits=("train", "test"))
    results = jobs.evaluate(run.config(), run, "train")[0].results
    assert results["image_to_text/R@1"] == 100
    assert results["text_to_image/R@1"] == 100


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("precision", ["mixed_bfloat16", "mixed_float16"])
def test_half_precision_stays_finite(name: str, precision: str, tmp_path: pathlib.Path):
    run = train(name, tmp_path, "--steps=4", f"--precision={precision}")
    for key, value in weights(run).items():
        assert np.all(np.isfinite(np.asarray(value, np.float32))), key


@pytest.mark.parametrize("name", CASES)
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
    whole = train(name, tmp_path, "--steps=8", *options, run="whole")
    config = whole.config()

    class CutError(Exception):
        pass

    saves = Checkpoints.save

    def save_then_die(self: Checkpoints, step: int, *args, **kwargs):
        saves(self, step, *args, **kwargs)
        if step == 3:
            raise CutError

    cut = RunDirectory(tmp_path / "cut")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Checkpoints, "save", save_then_die)
        with pytest.raises(CutError):
            jobs.train(cut.named_in(config), cut)
    assert Checkpoints(cut.checkpoints).steps() == [3]
    keras.utils.clear_session()
    jobs.train(cut.named_in(config), cut)
    one, two = weights(whole), weights(cut)
    assert one.keys() == two.keys()
    for key in one:
        assert one[key].tobytes() == two[key].tobytes(), key


@pytest.mark.parametrize("name", CASES)
def test_export_round_trip(name: str, tmp_path: pathlib.Path):
    run = train(name, tmp_path, "--steps=20", splits=("train", "test"))
    directory = jobs.export(run.config(), run, "test", top_k=3)
    loaded = tf.saved_model.load(str(directory))
    method, _ = jobs.load_method(run.config(), run)
    texts = ["a red circle", "square painted blue"]
    expected = keras.ops.normalize(method.towers.encode_text(tf.constant(texts)), axis=-1)
    answer = loaded.signatures["encode_text"](text=tf.constant(texts))
    np.testing.assert_allclose(answer["embedding"], expected, atol=1e-5)
    found = loaded.signatures["search_by_text"](text=tf.constant(texts))
    assert found["ids"].shape == (2, 3)
