"""BERT is read from the folders that Hugging Face and keras-hub publish."""

from __future__ import annotations

import json

import ml_dtypes
import numpy as np
import pytest

from tests.models.tiny_bert import CONFIG, VOCABULARY, hugging_face_tensors, write_hugging_face, write_safetensors
from xmkeras.errors import UserError
from xmkeras.files import read_safetensors
from xmkeras.models.bert import bert_encoder
from xmkeras.models.bert_weights import load_bert

IDS = np.array([[2, 5, 7, 16, 3, 0, 0, 0], [2, 9, 3, 0, 0, 0, 0, 0]], np.int32)


def test_a_hugging_face_folder(tmp_path):
    bert = load_bert(str(write_hugging_face(tmp_path)))
    assert bert.config == CONFIG
    assert bert.vocabulary == VOCABULARY
    assert (bert.lower_case, bert.strip_accents) == (True, None)
    tensors = hugging_face_tensors()
    assert bert.weights is not None
    weight = tensors["encoder.layer.1.intermediate.dense.weight"]
    np.testing.assert_array_equal(bert.weights["bert_layer_1/inner/kernel"], weight.T)
    segment = tensors["embeddings.token_type_embeddings.weight"][0]
    positions = tensors["embeddings.position_embeddings.weight"] + segment
    np.testing.assert_array_equal(bert.weights["bert_embeddings/positions"], positions)


def test_both_namings_and_several_files_are_one_model(tmp_path):
    plain = load_bert(str(write_hugging_face(tmp_path / "plain")))
    other = write_hugging_face(tmp_path / "other", prefix="bert.", norm=("gamma", "beta"))
    tensors = read_safetensors(other / "model.safetensors")
    (other / "model.safetensors").unlink()
    for number, part in enumerate((list(tensors)[:9], list(tensors)[9:])):
        write_safetensors(other / f"model-{number}.safetensors", {name: tensors[name] for name in part})
    np.testing.assert_array_equal(bert_encoder(load_bert(str(other)))(IDS), bert_encoder(plain)(IDS))


def test_the_tokenizers_settings_are_read(tmp_path):
    folder = write_hugging_face(tmp_path)
    (folder / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": False, "strip_accents": True}))
    bert = load_bert(str(folder))
    assert (bert.lower_case, bert.strip_accents) == (False, True)


def test_half_precision_files(tmp_path):
    arrays = {
        "half": np.array([[1.5, -2]], np.float16),
        "brain": np.array([3.25], ml_dtypes.bfloat16),
        "whole": np.array([7], np.int64),
    }
    write_safetensors(tmp_path / "a.safetensors", arrays)
    for name, array in read_safetensors(tmp_path / "a.safetensors").items():
        np.testing.assert_array_equal(array, arrays[name])


def test_a_keras_hub_preset_folder_computes_what_keras_hub_computes(tmp_path):
    import keras_hub

    backbone = keras_hub.models.BertBackbone(
        vocabulary_size=CONFIG.vocabulary_size,
        num_layers=CONFIG.layers,
        num_heads=CONFIG.heads,
        hidden_dim=CONFIG.width,
        intermediate_dim=CONFIG.inner,
        max_sequence_length=CONFIG.positions,
    )
    generator = np.random.default_rng(0)
    backbone.set_weights([generator.normal(0, 0.5, weight.shape) for weight in backbone.get_weights()])
    backbone.save_to_preset(str(tmp_path))
    keras_hub.models.BertTokenizer(vocabulary=list(VOCABULARY), lowercase=True).save_to_preset(str(tmp_path))
    bert = load_bert(str(tmp_path))
    assert bert.vocabulary == VOCABULARY
    assert bert.config.approximate_gelu
    expected = backbone({"token_ids": IDS, "segment_ids": np.zeros_like(IDS), "padding_mask": IDS != 0})
    found = bert_encoder(bert)(IDS)
    for row, length in enumerate((5, 3)):
        np.testing.assert_allclose(found[row, :length], expected["sequence_output"][row, :length], atol=1e-5)


def _change(folder, **changes):
    values = json.loads((folder / "config.json").read_text()) | changes
    (folder / "config.json").write_text(json.dumps({name: v for name, v in values.items() if v is not None}))


@pytest.mark.parametrize(
    ("breaks", "words"),
    [
        (lambda folder: (folder / "config.json").unlink(), "config.json cannot be read"),
        (lambda folder: (folder / "config.json").write_text("{"), "config.json cannot be read"),
        (lambda folder: _change(folder, model_type="roberta"), "'roberta'"),
        (lambda folder: _change(folder, hidden_act="relu"), "relu"),
        (lambda folder: _change(folder, hidden_size=None), "hidden_size"),
        (lambda folder: (folder / "model.safetensors").unlink(), "safe_serialization"),
        (lambda folder: (folder / "model.safetensors").write_bytes(b"\x10"), "download them again"),
        (lambda folder: (folder / "vocab.txt").unlink(), "vocab.txt cannot be read"),
        (lambda folder: (folder / "vocab.txt").write_text("a\n" * 99), "99 pieces"),
        (lambda folder: _change(folder, num_hidden_layers=3), "encoder.layer.2"),
    ],
)
def test_what_is_wrong_with_a_folder_is_explained(tmp_path, breaks, words):
    folder = write_hugging_face(tmp_path)
    breaks(folder)
    with pytest.raises(UserError) as error:
        load_bert(str(folder))
    assert words in str(error.value)


def test_an_unknown_preset_is_explained():
    with pytest.raises(UserError, match="--bert=no_such_bert is neither a folder"):
        load_bert("no_such_bert")
