"""The pixel scaling of ResNet v1 against that of keras.applications."""

from __future__ import annotations

import keras
import numpy as np

from xmkeras.layers import CaffePreprocessing


def test_agrees_with_keras_applications():
    images = np.random.default_rng(0).uniform(0, 255, (2, 5, 4, 3)).astype("f4")
    want = keras.applications.resnet.preprocess_input(images.copy())
    np.testing.assert_allclose(CaffePreprocessing()(images).numpy(), want, atol=1e-4)
