"""Run by test_efficientnet_lite.py: maps, features and logits of the PyTorch model on the pixels of inputs.npz."""

from __future__ import annotations

import sys

import numpy as np

try:
    import torch
    from efficientnet_lite_pytorch import EfficientNet
except ImportError as error:
    print(error, file=sys.stderr)
    sys.exit(77)

inputs = np.load("inputs.npz")
name, pixels = str(inputs["name"]), inputs["pixels"]
model = EfficientNet.from_name(name.replace("_", "-"), image_size=pixels.shape[1]).eval()
model.load_state_dict(torch.load(str(inputs["path"]), weights_only=True))
outputs = {}
for number, block in enumerate(model._blocks):
    block.register_forward_hook(lambda _, __, made, number=number: outputs.update({f"block {number}": made}))
with torch.no_grad():
    # As the package's example scales: Google's mean and deviation of the Lite models.
    maps = model.extract_features(torch.tensor((pixels - 127) / 128).permute(0, 3, 1, 2).contiguous())
    outputs |= {"head": maps, "features": maps.mean((2, 3))}
    outputs["logits"] = model._fc(outputs["features"])
made = {name: (value.permute(0, 2, 3, 1) if value.ndim == 4 else value).numpy() for name, value in outputs.items()}
np.savez("outputs.npz", **made)
