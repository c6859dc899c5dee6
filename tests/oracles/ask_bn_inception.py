"""Run by test_bn_inception.py: saves random weights of a PyTorch BN-Inception and what it makes of inputs.npz."""

from __future__ import annotations

import sys

import numpy as np

try:
    import torch
except ImportError as error:
    print(error, file=sys.stderr)
    sys.exit(77)

from torch_bn_inception import Twin

pixels = np.load("inputs.npz")["pixels"]
torch.manual_seed(0)
model = Twin().eval()
for layer in model.modules():
    if isinstance(layer, torch.nn.BatchNorm2d):
        layer.weight.data.uniform_(0.5, 1.5)
        layer.bias.data.uniform_(-0.5, 0.5)
        layer.running_mean.uniform_(-0.5, 0.5)
        layer.running_var.uniform_(0.05, 0.15)  # of small random kernels, so that maps neither vanish nor grow
torch.save(model.state_dict(), "twin.pth")
bgr = pixels[..., ::-1] - np.float32([104, 117, 128])
with torch.no_grad():
    maps = model(torch.tensor(bgr.copy()).permute(0, 3, 1, 2).contiguous() / 50)
np.savez("outputs.npz", **{name: value.permute(0, 2, 3, 1).numpy() for name, value in maps.items()})
