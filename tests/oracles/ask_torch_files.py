"""Run by test_torch_files.py: PyTorch's own files of the arrays in inputs.npz, in both layouts and permuted."""

from __future__ import annotations

import sys

import numpy as np

try:
    import torch
except ImportError as error:
    print(error, file=sys.stderr)
    sys.exit(77)

tensors = {name: torch.tensor(array) for name, array in np.load("inputs.npz").items()}
tensors |= {f"{name} permuted": value.permute(tuple(range(value.ndim)[::-1])) for name, value in tensors.items()}
tensors |= {f"{name} part": value[1:, ..., -2:] for name, value in tensors.items() if value.ndim > 1}
model = torch.nn.Sequential(torch.nn.Conv2d(2, 3, 3), torch.nn.BatchNorm2d(3))
tensors |= model.to(memory_format=torch.channels_last).state_dict()
for name, zipped in (("zip", True), ("legacy", False)):
    torch.save(tensors, f"{name}.pth", _use_new_zipfile_serialization=zipped)
    torch.save(model.state_dict(), f"state_{name}.pth", _use_new_zipfile_serialization=zipped)
    torch.save(model, f"model_{name}.pth", _use_new_zipfile_serialization=zipped)
np.savez("outputs.npz", **{name: value.numpy() for name, value in tensors.items()})
