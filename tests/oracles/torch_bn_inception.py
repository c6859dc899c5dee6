"""BN-Inception in PyTorch, module by module as its paper's table and Caffe's rounding have it: a twin for tests."""

from __future__ import annotations

import torch
from torch import nn

# single, (reduce, 3x3), (reduce, double 3x3), projection
TABLE = {
    "3a": (64, (64, 64), (64, 96), 32),
    "3b": (64, (64, 96), (64, 96), 64),
    "3c": (None, (128, 160), (64, 96), None),
    "4a": (224, (64, 96), (96, 128), 128),
    "4b": (192, (96, 128), (96, 128), 128),
    "4c": (160, (128, 160), (128, 160), 128),
    "4d": (96, (128, 192), (160, 192), 128),
    "4e": (None, (128, 192), (192, 256), None),
    "5a": (352, (192, 320), (160, 224), 128),
    "5b": (352, (192, 320), (192, 224), 128),
}


class Twin(nn.Module):
    """Layers of the published names, applied in order."""

    def __init__(self) -> None:
        super().__init__()
        self.reduce = nn.MaxPool2d(3, 2, ceil_mode=True)
        self.mean = nn.AvgPool2d(3, 1, 1, ceil_mode=True, count_include_pad=True)
        self.most = nn.MaxPool2d(3, 1, 1, ceil_mode=True)
        self._add("conv1_7x7_s2", 3, 64, 7, 2)
        self._add("conv2_3x3_reduce", 64, 64, 1)
        self._add("conv2_3x3", 64, 192, 3)
        inner = 192
        for name, (single, triple, double, projection) in TABLE.items():
            stem, stride = f"inception_{name}", 1 if single else 2
            if single:
                self._add(f"{stem}_1x1", inner, single, 1)
                self._add(f"{stem}_pool_proj", inner, projection, 1)
            self._add(f"{stem}_3x3_reduce", inner, triple[0], 1)
            self._add(f"{stem}_3x3", *triple, 3, stride)
            self._add(f"{stem}_double_3x3_reduce", inner, double[0], 1)
            self._add(f"{stem}_double_3x3_1", *double, 3)
            self._add(f"{stem}_double_3x3_2", double[1], double[1], 3, stride)
            inner = triple[1] + double[1] + (single + projection if single else inner)

    def _add(self, name: str, inner: int, outer: int, kernel: int, stride: int = 1) -> None:
        self.add_module(name, nn.Conv2d(inner, outer, kernel, stride, kernel // 2))
        self.add_module(f"{name}_bn", nn.BatchNorm2d(outer, eps=1e-5))

    def _pass(self, x: torch.Tensor, name: str) -> torch.Tensor:
        return torch.relu(getattr(self, f"{name}_bn")(getattr(self, name)(x)))

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        """BGR less the means (B, 3, h, w) -> each module's map."""
        x = self.reduce(self._pass(x, "conv1_7x7_s2"))
        x = self.reduce(self._pass(self._pass(x, "conv2_3x3_reduce"), "conv2_3x3"))
        maps = {}
        for name, (single, *_) in TABLE.items():
            stem = f"inception_{name}"
            branches = [self._pass(x, f"{stem}_1x1")] if single else []
            branches.append(self._pass(self._pass(x, f"{stem}_3x3_reduce"), f"{stem}_3x3"))
            y = self._pass(self._pass(x, f"{stem}_double_3x3_reduce"), f"{stem}_double_3x3_1")
            branches.append(self._pass(y, f"{stem}_double_3x3_2"))
            if single:
                pooled = (self.most if name == "5b" else self.mean)(x)
                branches.append(self._pass(pooled, f"{stem}_pool_proj"))
            else:
                branches.append(self.reduce(x))
            x = maps[name] = torch.cat(branches, 1)
        return maps
