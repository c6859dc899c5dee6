"""Pictures from a finished run; a sentence where there is none."""

from __future__ import annotations

import json
import pathlib

import numpy as np
import pytest
from PIL import Image

from tests.conformance.cases import SMALL, write_pairs
from tools import make_pictures
from xmkeras.errors import UserError
from xmkeras.evaluate import main as evaluate
from xmkeras.export import main as export
from xmkeras.train import main as train


def test_both_pictures_are_drawn(tmp_path: pathlib.Path):
    table = write_pairs(tmp_path / "pairs", 8, splits=("train", "test"))
    run = tmp_path / "run"
    train([*SMALL, "--source=table", f"--table={table}", "--batch_size=8", "--steps=2", f"--run={run}"])
    with pytest.raises(UserError, match="make demo"):
        make_pictures.main([f"--run={run}"])
    evaluate([f"--run={run}"])
    export([f"--run={run}", "--gallery=test"])
    assert make_pictures.main([f"--run={run}", f"--output={tmp_path / 'pictures'}"]) == 0
    for name in ("search", "queries"):
        pixels = np.asarray(Image.open(tmp_path / "pictures" / f"{name}.png").convert("RGB"))
        assert min(pixels.shape[:2]) > 100
        assert pixels.std() > 1
    assert json.loads((run / "gallery_files.json").read_text())
