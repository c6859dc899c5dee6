"""Features as .tsv with base64 fields become what the region sources read."""

from __future__ import annotations

import base64
import pathlib

import numpy as np
import pytest

from tests.data.published_layouts import write_karpathy
from tools import convert_regions
from xmkeras.data.sources import SourceOptions, load_source
from xmkeras.errors import UserError

NAMES = {"train": (11, 12, 13), "val": (21, 22), "test": (31, 32)}


def line(number: int, regions: int = 2, width: int = 4) -> str:
    boxes = np.full((regions, 4), number, np.float32)
    features = np.arange(regions * width, dtype=np.float32).reshape(regions, width) + 100 * number
    fields = [f"{number}", "640", "480", f"{regions}", *(base64.b64encode(one).decode() for one in (boxes, features))]
    return "\t".join(fields) + "\n"


@pytest.fixture
def captions(tmp_path: pathlib.Path) -> str:
    files = {split: [f"{split}2014/COCO_{split}2014_{n:012d}.jpg" for n in numbers] for split, numbers in NAMES.items()}
    return str(write_karpathy(tmp_path, "coco", files, filepath=True) / "dataset_coco.json")


def write_tsv(path: pathlib.Path, numbers: list[int]) -> str:
    path.write_text("".join(map(line, numbers)))
    return str(path)


def test_what_is_written_is_what_the_source_reads(tmp_path, captions, capsys):
    # In any order and several files, with an image twice and one that no split has.
    first = write_tsv(tmp_path / "a.tsv", [31, 13, 21, 99])
    second = write_tsv(tmp_path / "b.tsv", [12, 32, 12, 11, 22])
    output = tmp_path / "coco_precomp"
    flags = [f"--captions={captions}", f"--tsv={first}", f"--tsv={second}", f"--output={output}", "--test=testall"]
    assert convert_regions.main(flags) == 0
    assert "3 images of train, 2 images of dev, 2 images of testall" in capsys.readouterr().out
    table = load_source("coco_regions", SourceOptions(data_dir=str(tmp_path)))
    assert table.image_ids == ["11", "12", "13", "21", "22", "31", "32"]
    assert table.features[table.image_index][:, 1, 0].tolist() == [100 * n + 4 for n in map(int, table.image_ids)]
    assert table.captions[0] == tuple(f"A dog, {n}." for n in range(5))
    np.testing.assert_allclose(table.boxes.of(6)[0], np.array([32, 32, 32, 32]) / [640, 480, 640, 480])


def test_faults_leave_nothing_behind(tmp_path, captions):
    output = tmp_path / "out"
    whole = [number for numbers in NAMES.values() for number in numbers]
    for content, words in [
        ("".join(map(line, whole[1:])), r"1 images are in none of .*, the first of them '11'; give every --tsv"),
        (line(11) + "12\t640\t480\t2\tAAAA\n", r"line 2 is damaged .* expected the fields image_id, image_w"),
        (line(11) + line(12, regions=3), r"image '12' has regions of shape \(3, 4\), others \(2, 4\)"),
        (line(11).replace("640", "wide"), "line 1 is damaged"),
        ("", "holds no image"),
        ("\u00e9", r"cannot be read as a .tsv of features"),
    ]:
        (tmp_path / "bad.tsv").write_text(content)
        with pytest.raises(UserError, match=words):
            convert_regions.main([f"--captions={captions}", f"--tsv={tmp_path / 'bad.tsv'}", f"--output={output}"])
        assert not list(output.glob("**/*")) if output.exists() else True
    with pytest.raises(UserError, match="Give --tsv: file of image_id"):
        convert_regions.main([])
