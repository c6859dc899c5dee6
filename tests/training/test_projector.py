"""The projector's files, as a real TensorBoard server hands them to a browser."""

from __future__ import annotations

import json
import pathlib
import re
import subprocess
import sys
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import tensorflow as tf

from xmkeras.training.monitor import Monitor
from xmkeras.training.projector import Points, fit, together, write_projector

RNG = np.random.default_rng(0)
VECTORS = RNG.normal(size=(7, 5)).astype("float32")
WORDS = ["a red heart", 'a "quoted"\tname', "two\nlines", "été", "", "x", "y"]


def colour(i: int) -> np.ndarray:
    return np.full((10, 10, 3), 30 * i, np.uint8)


IMAGES = Points("test images", VECTORS[:4], {"name": WORDS[:4], "label": list("abcd")}, colour)
TEXTS = Points("test texts", VECTORS[4:], {"name": WORDS[4:]}, lambda i: colour(4 + i))


@pytest.fixture(scope="module")
def fetch(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., bytes]]:
    directory = tmp_path_factory.mktemp("logs")
    with Monitor(directory / "run") as monitor:
        monitor.log_metrics(1, {"R@1": 1.0})
        plain = Points("plain", VECTORS, {"name": WORDS})
        write_projector(monitor.tensorboard, [IMAGES, plain, together("both", IMAGES, TEXTS)])
    command = [sys.executable, "-m", "tensorboard.main", "--logdir", str(directory), "--port", "0"]
    process = subprocess.Popen(
        [*command, "--load_fast", "false"], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    )
    try:
        for line in process.stderr:
            if found := re.search(r"http://localhost:(\d+)", line):
                break

        def get(route: str, **query: str) -> bytes:
            address = f"http://localhost:{found[1]}/data/plugin/projector/{route}"
            with urllib.request.urlopen(f"{address}?{urllib.parse.urlencode(query)}", timeout=30) as answer:
                return answer.read()

        yield get
    finally:
        process.terminate()
        process.communicate()


def test_the_server_serves_every_set(fetch: Callable[..., bytes]) -> None:
    (run,) = [name for name in json.loads(fetch("runs")) if name != "."]
    assert run == "run/tensorboard"
    entries = {entry["tensorName"]: entry for entry in json.loads(fetch("info", run=run))["embeddings"]}
    assert {name: entry["tensorShape"] for name, entry in entries.items()} == {
        "test images": [4, 5],
        "plain": [7, 5],
        "both": [7, 5],
    }
    for name, expected in (("test images", VECTORS[:4]), ("plain", VECTORS), ("both", VECTORS)):
        vectors = np.frombuffer(fetch("tensor", run=run, name=name), "float32").reshape(-1, 5)
        np.testing.assert_allclose(vectors, expected, rtol=1e-5)
    assert "sprite" not in entries["plain"]


def test_the_server_serves_what_is_known_of_each_point(fetch: Callable[..., bytes]) -> None:
    lines = fetch("metadata", run="run/tensorboard", name="test images").decode().split("\n")
    assert lines == ["name\tlabel", "a red heart\ta", 'a "quoted" name\tb', "two lines\tc", "été\td", ""]
    lines = fetch("metadata", run="run/tensorboard", name="plain").decode().split("\n")
    assert len(lines) == 8
    assert lines[0] == "a red heart"
    assert lines[4] == "-"
    lines = fetch("metadata", run="run/tensorboard", name="both").decode().split("\n")
    assert lines[0] == "kind\tname\tlabel"
    assert lines[5] == "test texts\t-\t-"


def test_the_server_serves_the_thumbnails_in_order(fetch: Callable[..., bytes]) -> None:
    for name, count, across in (("test images", 4, 2), ("both", 7, 3)):
        sheet = tf.io.decode_png(fetch("sprite_image", run="run/tensorboard", name=name)).numpy()
        assert sheet.shape == (48 * across, 48 * across, 3)
        for i in range(count):
            cell = sheet[i // across * 48 :, i % across * 48 :][:48, :48]
            assert (cell == 30 * i).all()


def test_too_many_points_are_thinned_out_evenly(tmp_path: pathlib.Path) -> None:
    vectors = np.arange(1001, dtype="float32")[:, None]
    seen: list[int] = []

    def look(i: int) -> np.ndarray:
        seen.append(i)
        return colour(0)

    points = Points("many", vectors, {"number": [str(i) for i in range(1001)]}, look)
    write_projector(tmp_path, [points], limit=11)
    kept = [100 * i for i in range(11)]
    assert np.loadtxt(tmp_path / "projector/0-many/tensors.tsv").tolist() == kept
    assert (tmp_path / "projector/0-many/metadata.tsv").read_text().split() == [str(i) for i in kept]
    assert seen == kept


def test_a_thumbnail_keeps_its_aspect_on_white() -> None:
    square = fit(np.zeros((10, 20, 3), np.uint8), 8)
    assert square[:, :, 0].tolist() == [[255] * 8] * 2 + [[0] * 8] * 4 + [[255] * 8] * 2
    assert fit(np.full((300, 1, 3), 9, np.uint8), 8).shape == (8, 8, 3)


@pytest.mark.parametrize(
    ("sets", "word"),
    [
        ([IMAGES, IMAGES], "same name"),
        ([Points("a", VECTORS, {"name": ["one"]})], "7 texts"),
        ([Points("a", np.full((1, 2), np.nan), {"name": ["one"]})], "finite"),
    ],
)
def test_unusable_points_are_refused(tmp_path: pathlib.Path, sets: list[Points], word: str) -> None:
    with pytest.raises(ValueError, match=word):
        write_projector(tmp_path, sets)


def test_sets_with_and_without_thumbnails_do_not_mix() -> None:
    with pytest.raises(ValueError, match="thumbnails"):
        together("both", IMAGES, Points("plain", VECTORS, {"name": WORDS}))
