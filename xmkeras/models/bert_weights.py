"""Reads published BERT weights: a Hugging Face folder, a keras-hub preset folder, or a preset's name."""

from __future__ import annotations

import json
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from xmkeras.errors import UserError
from xmkeras.files import read_safetensors
from xmkeras.models.bert import EMBEDDINGS, LAYER, Bert, BertConfig

_EXACT = ("gelu",)
_APPROXIMATE = ("gelu_new", "gelu_pytorch_tanh", "gelu_python_tanh")


def load_bert(source: str) -> Bert:
    """The BERT called `source`.

    Args:
        source: a folder with `config.json`, `*.safetensors` and `vocab.txt`, as Hugging Face publishes them; a folder
            of a keras-hub preset; or a preset's name, `bert_base_en_uncased`, which keras-hub downloads.

    Raises:
        UserError: it cannot be read, or is no BERT.
    """
    folder = pathlib.Path(source).expanduser()
    if not folder.is_dir():
        return _from_keras_hub(source)
    config = _json(folder / "config.json")
    if "registered_name" in config:
        return _from_keras_hub(str(folder))
    return _from_hugging_face(folder, config)


def _json(path: pathlib.Path) -> dict[str, Any]:
    try:
        values: dict[str, Any] = json.loads(path.read_text("utf-8"))
        return values
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read ({error}); --bert takes a folder that BERT was saved to.") from error


def _from_hugging_face(folder: pathlib.Path, config: Mapping[str, Any]) -> Bert:
    activation = config.get("hidden_act", "gelu")
    positions = config.get("position_embedding_type", "absolute")
    if config.get("model_type") != "bert" or activation not in _EXACT + _APPROXIMATE or positions != "absolute":
        raise UserError(
            f"{folder / 'config.json'} describes a {config.get('model_type')!r} with {activation} and {positions} "
            "positions; --bert takes a BERT with GELU and absolute positions."
        )
    try:
        sizes = BertConfig(
            vocabulary_size=config["vocab_size"],
            layers=config["num_hidden_layers"],
            heads=config["num_attention_heads"],
            width=config["hidden_size"],
            inner=config["intermediate_size"],
            positions=config["max_position_embeddings"],
            epsilon=config.get("layer_norm_eps", 1e-12),
            approximate_gelu=activation in _APPROXIMATE,
        )
    except KeyError as error:
        raise UserError(f"{folder / 'config.json'} does not say {error}; is it the folder of a BERT?") from error
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise UserError(f"There is no *.safetensors in {folder}; save the model with safe_serialization=True.")
    tensors: dict[str, np.ndarray] = {}
    for file in files:
        tensors |= read_safetensors(file)
    about = _json(folder / "tokenizer_config.json") if (folder / "tokenizer_config.json").is_file() else {}
    return Bert(
        sizes,
        _vocabulary(folder / "vocab.txt", sizes),
        lower_case=about.get("do_lower_case", True),
        strip_accents=about.get("strip_accents"),
        weights=dict(_renamed(tensors, sizes.layers, folder)),
    )


def _vocabulary(path: pathlib.Path, sizes: BertConfig) -> tuple[str, ...]:
    try:
        lines = path.read_text("utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"The BERT vocabulary {path} cannot be read: {error}.") from error
    pieces = tuple(line.removesuffix("\r") for line in (lines[:-1] if lines[-1] == "" else lines))
    if len(pieces) > sizes.vocabulary_size:
        raise UserError(f"{path} has {len(pieces)} pieces, but the model only {sizes.vocabulary_size}.")
    return pieces


def _renamed(tensors: Mapping[str, np.ndarray], layers: int, folder: pathlib.Path) -> Iterator[tuple[str, np.ndarray]]:
    """The weights by our names; published ones begin with "bert." or not, and norms have weight or gamma."""
    known = {name.removeprefix("bert."): array for name, array in tensors.items()}

    def get(*names: str) -> np.ndarray:
        for name in names:
            if name in known:
                return np.asarray(known[name], np.float32)
        raise UserError(f"The weights in {folder} have no {names[0]}; is it the checkpoint of a BERT encoder?")

    def norm(place: str, name: str) -> Iterator[tuple[str, np.ndarray]]:
        yield f"{name}/gamma", get(f"{place}.weight", f"{place}.gamma")
        yield f"{name}/beta", get(f"{place}.bias", f"{place}.beta")

    def dense(place: str, name: str) -> Iterator[tuple[str, np.ndarray]]:
        yield f"{name}/kernel", get(f"{place}.weight").T
        yield f"{name}/bias", get(f"{place}.bias")

    yield f"{EMBEDDINGS}/words", get("embeddings.word_embeddings.weight")
    segment = get("embeddings.token_type_embeddings.weight")[0]
    yield f"{EMBEDDINGS}/positions", get("embeddings.position_embeddings.weight") + segment
    yield from norm("embeddings.LayerNorm", f"{EMBEDDINGS}/norm")
    for number in range(layers):
        place, name = f"encoder.layer.{number}", f"{LAYER}{number}"
        for part in ("query", "key", "value"):
            yield from dense(f"{place}.attention.self.{part}", f"{name}/{name}_attention/{part}")
        yield from dense(f"{place}.attention.output.dense", f"{name}/{name}_attention/output")
        yield from norm(f"{place}.attention.output.LayerNorm", f"{name}/attention_norm")
        yield from dense(f"{place}.intermediate.dense", f"{name}/inner")
        yield from dense(f"{place}.output.dense", f"{name}/outer")
        yield from norm(f"{place}.output.LayerNorm", f"{name}/output_norm")


def _from_keras_hub(preset: str) -> Bert:
    import keras_hub

    try:
        backbone = keras_hub.models.BertBackbone.from_preset(preset, dtype="float32")
        tokenizer = keras_hub.models.BertTokenizer.from_preset(preset)
    except Exception as error:  # keras-hub and its downloaders raise errors of many kinds.
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise UserError(
            f"--bert={preset} is neither a folder with a BERT nor a keras-hub preset that can be had "
            f"({lines[0].rstrip('.')[:200]}); give a folder with config.json, *.safetensors and vocab.txt."
        ) from error
    sizes = BertConfig(
        vocabulary_size=backbone.vocabulary_size,
        layers=backbone.num_layers,
        heads=backbone.num_heads,
        width=backbone.hidden_dim,
        inner=backbone.intermediate_dim,
        positions=backbone.max_sequence_length,
        approximate_gelu=True,
    )
    # keras-hub keeps accents unless told otherwise; the published tokenizers strip them from uncased text.
    return Bert(
        sizes,
        tuple(tokenizer.get_vocabulary()),
        lower_case=tokenizer.lowercase,
        weights=dict(_weights_of(backbone, sizes.width)),
    )


def _weights_of(backbone: Any, width: int) -> Iterator[tuple[str, np.ndarray]]:
    def norm(layer: Any, name: str) -> Iterator[tuple[str, np.ndarray]]:
        yield f"{name}/gamma", layer.gamma.numpy()
        yield f"{name}/beta", layer.beta.numpy()

    def dense(layer: Any, name: str, units: int) -> Iterator[tuple[str, np.ndarray]]:
        yield f"{name}/kernel", layer.kernel.numpy().reshape(-1, units)
        yield f"{name}/bias", layer.bias.numpy().reshape(-1)

    yield f"{EMBEDDINGS}/words", backbone.token_embedding.embeddings.numpy()
    segment = backbone.segment_embedding.embeddings.numpy()[0]
    yield f"{EMBEDDINGS}/positions", backbone.position_embedding.position_embeddings.numpy() + segment
    yield from norm(backbone.embeddings_layer_norm, f"{EMBEDDINGS}/norm")
    for number, block in enumerate(backbone.transformer_layers):
        name, attention = f"{LAYER}{number}", block._self_attention_layer
        for part in ("query", "key", "value", "output"):
            yield from dense(getattr(attention, f"{part}_dense"), f"{name}/{name}_attention/{part}", width)
        yield from norm(block._self_attention_layer_norm, f"{name}/attention_norm")
        yield from dense(block._feedforward_intermediate_dense, f"{name}/inner", backbone.intermediate_dim)
        yield from dense(block._feedforward_output_dense, f"{name}/outer", width)
        yield from norm(block._feedforward_layer_norm, f"{name}/output_norm")
