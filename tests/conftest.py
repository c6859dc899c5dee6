"""Fixtures shared by the whole suite."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Iterator

import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
if "PYTEST_XDIST_WORKER" in os.environ:
    # One thread a worker and its children: two pools of threads would only take the cores from one another.
    os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")

ROOT = pathlib.Path(__file__).resolve().parent.parent
# What takes longest comes first: a worker that met it last would keep the others waiting.
LONGEST = (
    "tests/conformance/test_methods.py",
    "tests/run/test_jobs.py",
    "tests/run/test_caches.py",
    "tests/conformance/test_replicas.py",
    "tests/conformance/",
    "tests/serving/",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Sorts the files by how long they take, and keeps the order of the tests in a file."""

    def place(item: pytest.Item) -> int:
        return next((number for number, start in enumerate(LONGEST) if item.nodeid.startswith(start)), len(LONGEST))

    items.sort(key=place)


@pytest.fixture(scope="session")
def shared() -> pathlib.Path:
    """The folder of real photographs, captions and weights beside the checkout; skips where it is absent."""
    folder = pathlib.Path(os.environ.get("XMKERAS_SHARED", ROOT.parent / "shared"))
    if not (folder / "data").is_dir():
        pytest.skip(f"needs the real data sets in {folder}, which is not there")
    return folder


@pytest.fixture
def plain_tower() -> Iterator[None]:
    """Towers that see images through one convolution: where the depth of MobileNet proves nothing."""
    from tests.models.plain import plain_images

    with plain_images():
        yield
