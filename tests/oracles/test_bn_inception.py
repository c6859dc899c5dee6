"""BN-Inception beside a PyTorch twin with the same random weights: every map."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from tests.models.lite_pixels import pixels
from tests.oracles.processes import ask
from xmkeras.models.bn_inception import bn_inception, load_weights


# The published side, that of Proxy-NCA's release, and one whose poolings round up otherwise.
@pytest.mark.parametrize("side", [224, 227, 101])
def test_every_map_is_that_of_the_twin(side, tmp_path):
    images = pixels(side, 2)
    want = ask("ask_bn_inception.py", tmp_path, {"pixels": images}, "PyTorch")
    network = bn_inception((side, side, 3))
    load_weights(network, tmp_path / "twin.pth")
    maps = keras.Model(network.input, [network.get_layer(f"inception_{name}_output").output for name in want])
    # Scaled down on both sides, since random weights are not made for pixels.
    for name, made in zip(want, maps((images[..., ::-1] - np.float32([104, 117, 128])) / 50), strict=True):
        assert np.std(want[name]) > 1e-3, name
        assert np.abs(made - want[name]).max() < 1e-4 * np.abs(want[name]).max(), name
