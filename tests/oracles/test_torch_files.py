"""Files that PyTorch itself has written, in both of its layouts."""

from __future__ import annotations

import numpy as np
import pytest

from tests.oracles.processes import ask
from xmkeras.errors import UserError
from xmkeras.models.torch_files import read_torch


def test_tensors_come_back_and_models_are_refused(tmp_path):
    random = np.random.default_rng(0)
    shapes = {"f4": (4, 3, 2, 5), "f8": (7,), "f2": (2, 3), "i8": (), "i4": (0, 3), "i2": (5, 2), "u1": (6,), "?": (2,)}
    inputs = {kind: random.uniform(0, 256, shape).astype(kind) for kind, shape in shapes.items()}
    want = ask("ask_torch_files.py", tmp_path, inputs, "PyTorch")
    for layout in ("zip", "legacy"):
        read = read_torch(tmp_path / f"{layout}.pth")
        assert read.keys() == want.keys()
        for name, array in want.items():
            assert read[name].dtype == array.dtype
            np.testing.assert_array_equal(read[name], array)
        assert len(read_torch(tmp_path / f"state_{layout}.pth")) == 7
        with pytest.raises(UserError, match=r"more than tensors \(torch\.nn\.modules\.container\.Sequential\)"):
            read_torch(tmp_path / f"model_{layout}.pth")
