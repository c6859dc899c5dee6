"""A PyTorch file and what it is converted to make the same tower."""

from __future__ import annotations

import pathlib

import numpy as np
import pytest

from tests.models.test_bn_inception import SIDE, state
from tests.models.torch_writer import permuted, zip_file
from tools.convert_weights import main
from xmkeras.models.image import image_backbone


def test_the_converted_file_makes_the_same_tower(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]):
    source, target = tmp_path / "bn_inception.pth", tmp_path / "made" / "bn_inception.weights.h5"
    zip_file(source, {name: permuted(value) for name, value in state().items()})
    assert main(["--image_tower=bn_inception", str(source), str(target)]) == 0
    assert "--image_tower=bn_inception" in capsys.readouterr().out
    one, other = (
        image_backbone("bn_inception", image_size=(SIDE, SIDE), weights=str(path)).get_weights()
        for path in (source, target)
    )
    for a, b in zip(one, other, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    ("source", "target", "words"),
    [("nowhere.pth", "a.weights.h5", "no image weight file"), ("nowhere.pth", "a.h5", "end in .weights.h5")],
)
def test_a_mistake_is_one_sentence(source: str, target: str, words: str, capsys: pytest.CaptureFixture[str]):
    assert main(["--image_tower=bn_inception", source, target]) == 2
    assert words in capsys.readouterr().err
