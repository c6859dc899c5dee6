"""The folder that an export writes: whole or not at all, every weight once, described beside the graph."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.framework import types_pb2
from tensorflow.core.protobuf import saved_model_pb2

from tests.serving.conftest import DIM, MAX_PIXELS, SIZE, inputs, small_towers, tokenizer
from xmkeras.data.text import Tokenizer
from xmkeras.errors import UserError
from xmkeras.retrieval.embeddings import EmbeddingSet
from xmkeras.serving.client import SearchModel
from xmkeras.serving.saved_model import GALLERY_FILES, METADATA_FILE, export_saved_model, fingerprint
from xmkeras.serving.signatures import Signatures, named_weights


def export(towers, directory, **options):
    return export_saved_model(towers, directory, inputs=inputs(), **options)


def empty_gallery(rows=0, size=DIM):
    return EmbeddingSet(np.array(["x"] * rows, str), np.zeros(rows, np.int64), np.zeros((rows, size), np.float32))


def test_no_weight_is_stored_twice(exported):
    weights = named_weights(exported.towers.named_parts)
    numbers = sum(int(np.prod(weight.shape)) for weight in weights.values()) + exported.gallery.vectors.size
    stored = sum(path.stat().st_size for path in (exported.version / "variables").glob("*.data-*"))
    assert 4 * numbers <= stored < 4 * numbers + 50_000
    listed = tf.train.list_variables(str(exported.version / "variables" / "variables"))
    sizes = [int(np.prod(shape)) for name, shape in listed if name.endswith("VARIABLE_VALUE")]
    assert sum(sizes) == numbers + len(exported.gallery.ids)


def test_the_graph_holds_no_large_constant(exported):
    saved = saved_model_pb2.SavedModel.FromString((exported.version / "saved_model.pb").read_bytes())
    graph = saved.meta_graphs[0].graph_def
    nodes = [*graph.node, *(node for function in graph.library.function for node in function.node_def)]
    assert (
        max(
            node.attr["value"].tensor.ByteSize()
            for node in nodes
            if node.op == "Const" and node.attr["dtype"].type == types_pb2.DT_FLOAT
        )
        < 5_000
    )


def test_description(exported):
    description = json.loads((exported.version / METADATA_FILE).read_text("utf-8"))
    assert description["image_size"] == list(SIZE)
    assert description["embedding_dim"] == DIM
    assert description["max_pixels"] == MAX_PIXELS
    assert description["gallery"] == {"split": "test", "images": 7, "top_k": 4}
    assert description["tokenizer"] == "core"
    assert description["similarity"] == "cosine"
    assert description["inputs"] == {"image": "image_bytes", "text": "text"}
    assert description["credit"] == "Drawn by a test"
    assert len(description["fingerprint"]) == 64
    assert description["signatures"]["search_by_text"] == {
        "inputs": {"text": "string (None,)"},
        "outputs": {"ids": "string (None, 4)", "scores": "float32 (None, 4)"},
    }


def test_fingerprint_follows_weights_vocabulary_size_and_similarity(exported):
    def of(towers, given=None, **options):
        return fingerprint(Signatures(towers, given or inputs(), **options))

    same = of(exported.towers)
    assert same == json.loads((exported.version / METADATA_FILE).read_text("utf-8"))["fingerprint"]
    others = [
        of(exported.towers, inputs(image_size=(32, 33))),
        of(exported.towers, inputs(words=Tokenizer(["other", "words"]))),
        of(exported.towers, similarity="euclidean"),
        of(small_towers(seed=1)),
    ]
    assert len({same, *others}) == 5


def test_the_fingerprint_of_pictures_and_words_is_what_it_was(exported):
    """Folders that were embedded before keep their indexes."""
    digest = hashlib.sha256(repr((SIZE, tokenizer().get_config())).encode())
    for name, weight in sorted(named_weights(exported.towers.named_parts).items()):
        digest.update(f"{name} {weight.numpy().dtype} {weight.numpy().shape}".encode() + weight.numpy().tobytes())
    assert SearchModel(exported.directory).fingerprint == digest.hexdigest()


def test_an_export_replaces_the_old_one_or_leaves_it_whole(exported, tmp_path, monkeypatch):
    version = export(exported.towers, tmp_path, credit="first")

    def no_space(*_args, **_options):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("xmkeras.serving.warmup.write_warmup", no_space)
        with pytest.raises(UserError, match="No space left on device"):
            export(exported.towers, tmp_path, credit="second")
    assert json.loads((version / METADATA_FILE).read_text("utf-8"))["credit"] == "first"
    assert [path.name for path in version.parent.iterdir()] == ["1"]

    (tmp_path / GALLERY_FILES).write_text("{}")
    export(exported.towers, tmp_path, credit="third")
    assert not (tmp_path / GALLERY_FILES).exists()
    assert json.loads((version / METADATA_FILE).read_text("utf-8"))["credit"] == "third"
    assert [path.name for path in version.parent.iterdir()] == ["1"]


def test_a_file_in_the_way_is_one_sentence(exported, tmp_path):
    (tmp_path / "run").write_text("")
    with pytest.raises(UserError, match="Cannot write the SavedModel"):
        export(exported.towers, tmp_path / "run")


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"top_k": 0}, "top_k=0"),
        ({"galleries": {"image": empty_gallery()}}, "gallery of images to be packed holds none"),
        ({"galleries": {"text": empty_gallery(2, 3)}}, "have 3 numbers and the model's 16"),
    ],
)
def test_bad_options_are_one_sentence(exported, tmp_path, options, sentence):
    with pytest.raises(UserError, match=sentence):
        export(exported.towers, tmp_path, **options)
    assert not list(tmp_path.iterdir())
