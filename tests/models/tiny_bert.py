"""A BERT of a few thousand random weights, and the folders that Hugging Face would publish of it."""

from __future__ import annotations

import json
import pathlib
from collections.abc import Mapping

import numpy as np

from xmkeras.models.bert import Bert, BertConfig

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
WORDS = ("a", "painted", "red", "orange", "yellow", "green", "cyan", "blue", "purple", "pink", "circle", "square")
VOCABULARY = (*SPECIAL, *WORDS, "un", "##aff", "##able")
CONFIG = BertConfig(len(VOCABULARY), layers=2, heads=2, width=32, inner=64, positions=64)


def tiny_bert() -> Bert:
    """Without weights: it is built with random ones."""
    return Bert(CONFIG, VOCABULARY)


def hugging_face_tensors(
    prefix: str = "", norm: tuple[str, str] = ("weight", "bias"), layers: int = CONFIG.layers
) -> dict[str, np.ndarray]:
    """Random weights of CONFIG, with so many layers, by their published names."""
    generator = np.random.default_rng(0)
    width, inner = CONFIG.width, CONFIG.inner
    shapes: dict[str, tuple[int, ...]] = {
        "embeddings.word_embeddings.weight": (CONFIG.vocabulary_size, width),
        "embeddings.position_embeddings.weight": (CONFIG.positions, width),
        "embeddings.token_type_embeddings.weight": (2, width),
        **{f"embeddings.LayerNorm.{end}": (width,) for end in norm},
    }
    for number in range(layers):
        place = f"encoder.layer.{number}"
        sizes = {f"attention.self.{part}": (width, width) for part in ("query", "key", "value")}
        sizes |= {"attention.output.dense": (width, width), "intermediate.dense": (inner, width)}
        sizes |= {"output.dense": (width, inner)}
        for name, size in sizes.items():
            shapes |= {f"{place}.{name}.weight": size, f"{place}.{name}.bias": size[:1]}
        for name in ("attention.output.LayerNorm", "output.LayerNorm"):
            shapes |= {f"{place}.{name}.{end}": (width,) for end in norm}
    return {prefix + name: generator.normal(0, 0.2, shape).astype(np.float32) for name, shape in shapes.items()}


def write_safetensors(path: pathlib.Path, tensors: Mapping[str, np.ndarray]) -> None:
    """The published file format, for tests without the package of that name."""
    names = {"float32": "F32", "float16": "F16", "bfloat16": "BF16", "int64": "I64"}
    header, offset = {"__metadata__": {"format": "pt"}}, 0
    for name, array in tensors.items():
        span = [offset, offset + array.nbytes]
        header[name] = {"dtype": names[array.dtype.name], "shape": list(array.shape), "data_offsets": span}
        offset = span[1]
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    body = b"".join(np.ascontiguousarray(array).tobytes() for array in tensors.values())
    path.write_bytes(len(text).to_bytes(8, "little") + text + body)


def write_hugging_face(folder: pathlib.Path, layers: int = CONFIG.layers, **options) -> pathlib.Path:
    """A Hugging Face checkpoint folder of CONFIG, with so many layers of random weights."""
    folder.mkdir(parents=True, exist_ok=True)
    config = {
        "model_type": "bert",
        "hidden_act": "gelu",
        "vocab_size": CONFIG.vocabulary_size,
        "num_hidden_layers": layers,
        "num_attention_heads": CONFIG.heads,
        "hidden_size": CONFIG.width,
        "intermediate_size": CONFIG.inner,
        "max_position_embeddings": CONFIG.positions,
        "layer_norm_eps": 1e-12,
    }
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "vocab.txt").write_text("".join(f"{piece}\n" for piece in VOCABULARY))
    write_safetensors(folder / "model.safetensors", hugging_face_tensors(layers=layers, **options))
    return folder
